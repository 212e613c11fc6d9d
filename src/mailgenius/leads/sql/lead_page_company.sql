-- A page as in lead_page.sql, of leads of a company or some, if those are few: then all are read and sorted. The first column
-- says whether they are; if not, there is no lead. At least one row. Index: leads_company, without which the workspace is read.
with few as materialized (
    select count(*) <= %(few)s::int8 as few
    from (
        select
        from mailgenius.leads l
        where l.workspace_id = %(workspace)s::int4 and l.company = any (%(companies)s::text[])
        limit %(few)s::int8 + 1
    ) l
)
select few.few, l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags,
       l.attributes, l.status, l.score, l.created_at, l.updated_at, l.import_id
from few
left join lateral (
    select *
    from mailgenius.leads l
    where few.few and l.workspace_id = %(workspace)s::int4 and {segment} and {reach}
    order by {order}
    limit %(limit)s::int4
) l on true
order by {order}
