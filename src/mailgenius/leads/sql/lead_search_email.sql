-- Leads whose address begins so: a range of bytes, so the order is that of collation "C". Index: leads_email.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from mailgenius.leads l
where l.workspace_id = %(workspace)s::int4 and l.email >= %(prefix)s::text and l.email < %(end)s::text
order by l.email
limit %(limit)s::int4
