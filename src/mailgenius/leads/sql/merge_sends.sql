-- Sends of the duplicates belong to the lead that stays. Those not sent yet go to its address. Index: email_sends_lead.
update mailgenius.email_sends s
set lead_id = m.keep, email = case s.status when 'queued' then k.email else s.email end
from unnest(%(keeps)s::int8[], %(members)s::int8[], %(places)s::int4[]) as m (keep, lead, place)
join mailgenius.leads k on k.workspace_id = %(workspace)s::int4 and k.id = m.keep
where m.place > 0 and s.workspace_id = %(workspace)s::int4 and s.lead_id = m.lead
