-- Leads with this in their name or company, but for those that lead_search_email finds. Index: trigram indexes on the two
-- expressions, where there are any; without them it reads the workspace until enough are found.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from mailgenius.leads l
where l.workspace_id = %(workspace)s::int4
  and (coalesce(l.first_name || ' ', '') || coalesce(l.last_name, '') ilike %(pattern)s::text
       or l.company ilike %(pattern)s::text)
  and not (l.email >= %(prefix)s::text and l.email < %(end)s::text)
order by l.id
limit %(limit)s::int4
