-- How many rows the planner expects, from its statistics: reads no lead.
explain (format json) select from mailgenius.leads l where l.workspace_id = %(workspace)s::int4 and {segment}
