-- How many leads a workspace has. Exact, and kept: a sum over a few rows. Index: primary key of lead_counts.
select coalesce(sum(c.n), 0)::int8 from mailgenius.lead_counts c where c.workspace_id = %(workspace)s::int4
