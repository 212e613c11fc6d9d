-- Leads that share a key, by groups, in the order of keys: a page goes on after the last key. Index: one on (workspace_id, key),
-- of which a page reads what it needs; without one the workspace is read once for each page.
with found as (
    select {key} as key, count(*) as n, array_agg(l.id) as ids
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and {key} > %(after)s::text
    group by 1 having count(*) > 1
    order by 1
    limit %(limit)s::int4
)
select found.key, found.n, l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country,
       l.tags, l.attributes, l.status, l.score, l.created_at, l.updated_at, l.import_id
from found
cross join lateral (select id from unnest(found.ids) as id order by id limit %(shown)s::int4) first
join mailgenius.leads l on l.workspace_id = %(workspace)s::int4 and l.id = first.id
order by found.key, l.id
