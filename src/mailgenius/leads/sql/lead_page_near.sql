-- A page as in lead_page.sql, but of the next leads of the order alone, some thousands: those of a segment that many are in are
-- among them. Index: the order's, as there.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from (
    select *
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and {reach}
    order by {order}
    limit %(near)s::int4
) l
where {segment}
order by {order}
limit %(limit)s::int4
