-- Inserts leads, or updates those that are there, but none whose address, or its hash, is on the suppression list. Sorted, so
-- that two sessions take their locks in one order. updated_at moves only if something else does. Index: leads_email.
insert into mailgenius.leads as l (workspace_id, email{columns})
select %(workspace)s::int4, given.email{values}
from jsonb_to_recordset(%(leads)s::jsonb) as given (
    email text, first_name text, last_name text, phone text, company text, city text, country text, tags text[],
    attributes jsonb, status text, score integer
)
where not exists (
    select from mailgenius.suppressions s
    where s.workspace_id = %(workspace)s::int4
      and s.email in (given.email, 'sha256:' || encode(sha256(convert_to(given.email, 'UTF8')), 'hex'))
)
order by given.email collate "C"
on conflict (workspace_id, email) do update set {changes}
returning l.email, l.id, l.xmax = 0, l.updated_at = now()
