-- Leads with this in their name or company, but for those that lead_search_email finds. Blocks whose text has it come first,
-- one by one, until enough leads are found. Indexes: primary keys of lead_texts and leads.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from (
    select distinct t.block
    from mailgenius.lead_texts t
    where t.workspace_id = %(workspace)s::int4 and strpos(t.texts, lower(%(text)s::text)) > 0
    order by t.block
) t
cross join lateral (
    select *
    from mailgenius.leads l
    where l.workspace_id = %(workspace)s::int4 and l.id between t.block << 7 and (t.block << 7) + 127
      and (coalesce(l.first_name || ' ', '') || coalesce(l.last_name, '') ilike %(pattern)s::text
           or l.company ilike %(pattern)s::text)
      and not (l.email >= %(prefix)s::text and l.email < %(end)s::text)
    order by l.id
) l
order by t.block, l.id
limit %(limit)s::int4
