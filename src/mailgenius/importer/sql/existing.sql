-- Which of the chunk's keys are leads already, as 1-based positions. The range lets a merge join read one index slice.
select array_agg(k.i::int4)
from unnest(%(keys)s::text[]) with ordinality as k (email, i)
join mailgenius.leads l on l.email = k.email collate "C"
where l.workspace_id = %(workspace)s::int4 and l.email >= %(lo)s collate "C" and l.email <= %(hi)s collate "C"
