-- The hours of a campaign's first and last sends and activities. Index: primary key of campaign_hours, of which each arm
-- reads one end.
select min(e.at) filter (where not a.activity), max(e.at) filter (where not a.activity),
       min(e.at) filter (where a.activity), max(e.at) filter (where a.activity)
from (values ('sent', false), ('delivered', false), ('complained', false), ('bounced', false), ('bounced_hard', false),
             ('bounced_soft', false), ('open', true), ('click', true), ('unsubscribe', true)) as a (kind, activity)
cross join lateral (
        (select (h.day + make_interval(hours => one.hour)) at time zone 'UTC' as at
         from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
         where h.workspace_id = %(workspace)s::int4 and h.campaign_id = %(campaign)s::int8 and h.kind = a.kind
           and h.day between '0001-01-02' and '9999-12-30'
         group by h.day, one.hour having sum(one.n) <> 0
         order by h.day, one.hour limit 1)
        union all
        (select (h.day + make_interval(hours => one.hour)) at time zone 'UTC'
         from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
         where h.workspace_id = %(workspace)s::int4 and h.campaign_id = %(campaign)s::int8 and h.kind = a.kind
           and h.day between '0001-01-02' and '9999-12-30'
         group by h.day, one.hour having sum(one.n) <> 0
         order by h.day desc, one.hour desc limit 1)
) e
