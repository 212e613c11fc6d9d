-- What a workspace consists of, at one moment: (kind, key, count) by status, day of creation in UTC, tag, domain. The first
-- two are kept; for each of the others the workspace is read.
(select 'status' as kind, c.status as key, sum(c.n)::int8 as count
 from mailgenius.lead_counts c
 where c.workspace_id = %(workspace)s::int4
 group by c.status
 having sum(c.n) <> 0
 order by 3 desc, 2)
union all
(select 'day', d.day::text, sum(d.n)::int8
 from mailgenius.lead_day_counts d
 where d.workspace_id = %(workspace)s::int4
   and d.month >= mailgenius.month_of(%(since)s::date) and d.day >= %(since)s::date
 group by d.day
 having sum(d.n) <> 0
 order by d.day)
union all
(select 'tag', tag, count(*)
 from mailgenius.leads l, unnest(l.tags) as tag
 where l.workspace_id = %(workspace)s::int4
 group by tag
 order by 3 desc, 2
 limit %(top)s::int4)
union all
(select 'domain', split_part(l.email, '@', -1), count(*)
 from mailgenius.leads l
 where l.workspace_id = %(workspace)s::int4
 group by 2
 order by 3 desc, 2
 limit %(top)s::int4)
