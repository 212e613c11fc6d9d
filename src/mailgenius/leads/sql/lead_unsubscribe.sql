-- The status of those who opted out. Their suppression is written in the same transaction. Index: leads_email.
update mailgenius.leads l
set status = 'unsubscribed', updated_at = now()
where l.workspace_id = %(workspace)s::int4 and l.email = any (%(emails)s::text[]) and l.status <> 'unsubscribed'
