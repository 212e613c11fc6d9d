-- How many leads a workspace has, by status; statuses that nobody has are left out. Exact, and kept: a sum over a few rows.
-- Index: primary key of lead_counts.
select c.status, sum(c.n)::int8 as leads
from mailgenius.lead_counts c
where c.workspace_id = %(workspace)s::int4
group by c.status
having sum(c.n) <> 0
order by c.status
