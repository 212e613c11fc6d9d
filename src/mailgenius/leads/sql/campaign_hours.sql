-- A campaign by hour (UTC): (moment, kind, count), the oldest first. Exact, and kept. Index: primary key of campaign_hours.
select (h.day + make_interval(hours => one.hour)) at time zone 'UTC', h.kind, sum(one.n)::int8
from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
where h.workspace_id = %(workspace)s::int4 and h.campaign_id = %(campaign)s::int8
  and h.day between '0001-01-02' and '9999-12-30'
  and h.day >= coalesce((%(since)s::timestamptz at time zone 'UTC')::date, '-infinity')
  and h.day + make_interval(hours => one.hour)
      >= coalesce(date_trunc('hour', %(since)s::timestamptz at time zone 'UTC'), '-infinity')
  and h.day + make_interval(hours => one.hour) < coalesce(%(until)s::timestamptz at time zone 'UTC', 'infinity')
group by h.day, one.hour, h.kind
having sum(one.n) <> 0
order by h.day, one.hour, h.kind
