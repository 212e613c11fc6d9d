-- Which of the chunk's keys are leads already, as 1-based positions.
select array_agg(k.i::int4)
from unnest(%(keys)s::text[]) with ordinality as k (email, i)
cross join lateral (
    select from mailgenius.leads l where l.workspace_id = %(workspace)s::int4 and l.email = k.email collate "C" limit 1
) hit
