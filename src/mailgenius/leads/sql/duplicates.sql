-- Leads that share a key, by groups, in the order of keys: a page goes on after the last key. Index: one on (workspace_id, key),
-- of which a page reads what it needs; without one the workspace is read, and grouped once.
with found as (
    select {key} as key, count(*) as n
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and {key} > %(after)s::text
    group by 1 having count(*) > 1
    order by 1
    limit %(limit)s::int4
)
select found.key, found.n, l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country,
       l.tags, l.attributes, l.status, l.score, l.created_at, l.updated_at, l.import_id
from found
join (
    select l.*, {key} as key, row_number() over (partition by {key} order by l.id) as nth
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and {key} in (select key from found)
) l on l.key = found.key and l.nth <= %(shown)s::int4
order by found.key, l.id
