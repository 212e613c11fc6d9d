-- Which of the chunk's keys belong to people who had themselves erased: of them a hash is left (leads/sql/lead_delete.sql).
select array_agg(k.email)
from unnest(%(keys)s::text[]) as k (email)
where exists (
    select from mailgenius.suppressions s
    where s.workspace_id = %(workspace)s::int4
      and s.email = 'sha256:' || encode(sha256(convert_to(k.email, 'UTF8')), 'hex') collate "C"
)
