-- All leads of a segment, read through a cursor; attributes stay the JSON text that they are. Index: primary key.
select l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes::text,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from mailgenius.leads l
where l.workspace_id = %(workspace)s::int4 and {segment}
order by l.id
