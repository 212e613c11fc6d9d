-- Waits for senders who are about to send to somebody of a merge, and lets no other begin: what they did must be known before
-- it is decided which sends are dropped. Index: email_sends_lead.
select s.id from mailgenius.email_sends s
where s.workspace_id = %(workspace)s::int4 and s.lead_id = any (%(members)s::int8[]) and s.status = 'queued'
order by s.id
for update
