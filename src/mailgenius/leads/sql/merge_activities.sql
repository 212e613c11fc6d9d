-- Activities of the duplicates belong to the lead that stays. Index: lead_activities_lead.
update mailgenius.lead_activities a
set lead_id = m.keep
from unnest(%(keeps)s::int8[], %(members)s::int8[], %(places)s::int4[]) as m (keep, lead, place)
where m.place > 0 and a.workspace_id = %(workspace)s::int4 and a.lead_id = m.lead
