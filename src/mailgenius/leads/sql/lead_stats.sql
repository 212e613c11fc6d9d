-- What a workspace consists of, at one moment: (kind, key, count) by status, day of creation in UTC, tag, domain. Reads the
-- workspace once for each of them.
(select 'status' as kind, l.status as key, count(*)
 from mailgenius.leads l
 where l.workspace_id = %(workspace)s::int4
 group by l.status
 order by 3 desc, 2)
union all
(select 'day', (l.created_at at time zone 'UTC')::date::text, count(*)
 from mailgenius.leads l
 where l.workspace_id = %(workspace)s::int4 and l.created_at >= %(since)s::timestamptz
 group by 2
 order by 2)
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
