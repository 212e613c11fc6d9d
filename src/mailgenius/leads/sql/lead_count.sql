-- How many leads a workspace has. Index-only scan of the primary key, about 0.1 s for a million.
select count(*) from mailgenius.leads l where l.workspace_id = %(workspace)s
