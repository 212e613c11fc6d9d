-- Puts back what the import overwrote, unless the lead was changed since.
update mailgenius.leads l
set first_name = c.first_name, last_name = c.last_name, phone = c.phone, company = c.company, city = c.city,
    country = c.country, tags = c.tags, attributes = c.attributes, status = c.status, score = c.score,
    updated_at = c.updated_at
from mailgenius.import_changes c
where c.workspace_id = %(workspace)s::int4 and c.import_id = %(import_id)s::int8
  and l.workspace_id = c.workspace_id and l.id = c.lead_id and (%(force)s or l.updated_at = c.stamp)
