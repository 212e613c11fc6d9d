-- What a workspace consists of, at one moment: (kind, key, count) by status, day of creation in UTC, tag, domain. All of
-- it is kept: no lead is read. Indexes: primary keys of the counters and bitmaps.
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
(select 'tag',
        case when starts_with(t.value, 'sha256:') -- a long one: its text is where the leads are
            then (select one from mailgenius.leads l, unnest(l.tags) as one
                  where l.workspace_id = %(workspace)s::int4 and mailgenius.bitmap_key(one) = t.value limit 1)
            else t.value end,
        t.n
 from (
     select b.value, sum(bit_count(b.bits))::int8 as n
     from (select value, block, bit_xor(bits) as bits
           from mailgenius.lead_bitmaps
           where workspace_id = %(workspace)s::int4 and facet = 'tag'
           group by value, block) b
     group by b.value
     having sum(bit_count(b.bits)) > 0
     order by 2 desc, 1
     limit %(top)s::int4
 ) t
 order by t.n desc, t.value)
union all
(select 'domain', one.domain, sum(one.n)::int8
 from mailgenius.lead_domains d, unnest(d.domains, d.ns) as one (domain, n)
 where d.workspace_id = %(workspace)s::int4
 group by one.domain
 having sum(one.n) <> 0
 order by 3 desc, 2
 limit %(top)s::int4)
