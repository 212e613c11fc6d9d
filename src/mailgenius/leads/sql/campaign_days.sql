-- A campaign by day (UTC): (moment, kind, count), the oldest first. Exact, and kept. Index: primary key of campaign_hours.
select h.day::timestamp at time zone 'UTC', h.kind, sum(h.n)::int8
from mailgenius.campaign_hours h
where h.workspace_id = %(workspace)s::int4 and h.campaign_id = %(campaign)s::int8
  and h.day between '0001-01-02' and '9999-12-30'
  and h.day >= coalesce((%(since)s::timestamptz at time zone 'UTC')::date, '-infinity')
  and h.day::timestamp < coalesce(%(until)s::timestamptz at time zone 'UTC', 'infinity')
group by h.day, h.kind
having sum(h.n) <> 0
order by h.day, h.kind
