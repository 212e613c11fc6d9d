-- The leads next to a place in an order: a keyset page, as fast on the last page as on the first. Index: one of the order's
-- column and id; the primary key for id, leads_email for email. Without one, the workspace is sorted.
-- A page that goes on from leads with a value to those without one asks twice: a condition for both could not be a range of an
-- index.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from mailgenius.leads l
where l.workspace_id = %(workspace)s::int4 and {segment} and {reach}
order by {order}
limit %(limit)s::int4
