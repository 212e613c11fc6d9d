-- Never twice to the same person: of a campaign that goes to several leads of a group, queued sends are deleted if another one
-- was sent, else all but one, that of the lead that stays if it has one. Index: email_sends_lead.
with ranked as (
    select s.id, s.created_at, s.status,
           min(s.lead_id) over same <> max(s.lead_id) over same as several,
           bool_or(s.status not in ('queued', 'failed')) over same as was_sent,
           row_number() over (partition by m.keep, s.campaign_id, s.status = 'queued' order by m.place, s.id) as rank
    from unnest(%(keeps)s::int8[], %(members)s::int8[], %(places)s::int4[]) as m (keep, lead, place)
    join mailgenius.email_sends s on s.workspace_id = %(workspace)s::int4 and s.lead_id = m.lead
    window same as (partition by m.keep, s.campaign_id)
)
delete from mailgenius.email_sends s
using ranked r
where s.workspace_id = %(workspace)s::int4 and s.id = r.id and s.created_at = r.created_at and s.status = 'queued'
  and r.status = 'queued' and r.several and (r.was_sent or r.rank > 1)
