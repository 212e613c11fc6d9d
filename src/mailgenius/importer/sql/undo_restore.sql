-- Puts back what the import overwrote, unless the lead was changed since.
update mailgenius.leads l
set first_name = b.first_name, last_name = b.last_name, phone = b.phone, company = b.company, city = b.city,
    country = b.country, tags = b.tags, attributes = b.attributes, status = b.status, score = b.score,
    updated_at = b.updated_at
from mailgenius.import_changes c
cross join lateral jsonb_populate_record(null::mailgenius.leads, c.before) b
where c.workspace_id = %(workspace)s::int4 and c.import_id = %(import_id)s::int8
  and l.workspace_id = c.workspace_id and l.id = c.lead_id and (%(force)s or l.updated_at = c.stamp)
