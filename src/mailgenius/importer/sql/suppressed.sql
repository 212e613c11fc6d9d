-- Which of the chunk's keys are on the workspace's suppression list, as 1-based positions.
select array_agg(k.i::int4)
from unnest(%(keys)s::text[]) with ordinality as k (email, i)
cross join lateral (
    select from mailgenius.suppressions s
    where s.workspace_id = %(workspace)s::int4 and s.email = k.email collate "C" limit 1
) hit
