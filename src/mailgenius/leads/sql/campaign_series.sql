-- A campaign by hour or day (UTC): (moment, kind, count), the oldest first. Exact, and kept. Index: primary key of
-- campaign_hours.
select date_trunc(%(by)s::text, e.at at time zone 'UTC') at time zone 'UTC', e.kind, sum(e.n)::int8
from (
    select h.kind, (h.day + make_interval(hours => one.hour)) at time zone 'UTC' as at, one.n
    from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
    where h.workspace_id = %(workspace)s::int4 and h.campaign_id = %(campaign)s::int8
      and h.day between '0001-01-02' and '9999-12-30'
) e
where e.at >= coalesce(date_bin('1 hour', %(since)s::timestamptz, 'epoch'), '-infinity')
  and e.at < coalesce(%(until)s::timestamptz, 'infinity')
group by 1, 2
having sum(e.n) <> 0
order by 1, 2
