-- Which of the chunk's keys are on the workspace's suppression list, as 1-based positions.
select array_agg(k.i::int4)
from unnest(%(keys)s::text[]) with ordinality as k (email, i)
join mailgenius.suppressions s on s.email = k.email collate "C"
where s.workspace_id = %(workspace)s::int4 and s.email >= %(lo)s collate "C" and s.email <= %(hi)s collate "C"
