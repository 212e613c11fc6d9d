-- The next leads of a workspace by number: a keyset page, as fast on the last page as on the first. Index: primary key.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from mailgenius.leads l
where l.workspace_id = %(workspace)s and l.id > %(after)s
order by l.id
limit %(limit)s
