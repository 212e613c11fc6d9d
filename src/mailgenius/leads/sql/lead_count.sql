-- How many leads of a workspace are in a segment. (Of all of them: lead_total.sql.)
select count(*) from mailgenius.leads l where l.workspace_id = %(workspace)s::int4 and {segment}
