-- Campaigns, the newest first, with their kept counters, and the hours of their first and last sends and activities. Indexes:
-- primary keys of campaigns, campaign_counts and campaign_hours, of which each arm below reads one end.
select c.id, c.name, c.status, c.created_at, k.kinds, k.ns, t.first_sent, t.last_sent, t.first_activity, t.last_activity
from (
    select * from mailgenius.campaigns c
    where c.workspace_id = %(workspace)s::int4 and c.id < %(before)s::int8
      and (%(only)s::int8[] is null or c.id = any (%(only)s::int8[]))
    order by c.id desc
    limit %(limit)s::int4
) c
cross join lateral (
    select array_agg(s.kind) as kinds, array_agg(s.n) as ns
    from (
        select k.kind, sum(k.n)::int8 as n
        from mailgenius.campaign_counts k
        where k.workspace_id = c.workspace_id and k.campaign_id = c.id
        group by k.kind
    ) s
) k
cross join lateral (
    select min(e.at) filter (where not a.activity) as first_sent, max(e.at) filter (where not a.activity) as last_sent,
           min(e.at) filter (where a.activity) as first_activity, max(e.at) filter (where a.activity) as last_activity
    from (values ('sent', false), ('delivered', false), ('complained', false), ('bounced', false), ('bounced_hard', false),
                 ('bounced_soft', false), ('open', true), ('click', true), ('unsubscribe', true)) as a (kind, activity)
    cross join lateral (
        (select (h.day + make_interval(hours => one.hour)) at time zone 'UTC' as at
         from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
         where h.workspace_id = c.workspace_id and h.campaign_id = c.id and h.kind = a.kind
           and h.day between '0001-01-02' and '9999-12-30'
         group by h.day, one.hour having sum(one.n) <> 0
         order by h.day, one.hour limit 1)
        union all
        (select (h.day + make_interval(hours => one.hour)) at time zone 'UTC'
         from mailgenius.campaign_hours h cross join lateral unnest(h.hours, h.ns) as one (hour, n)
         where h.workspace_id = c.workspace_id and h.campaign_id = c.id and h.kind = a.kind
           and h.day between '0001-01-02' and '9999-12-30'
         group by h.day, one.hour having sum(one.n) <> 0
         order by h.day desc, one.hour desc limit 1)
    ) e
) t
order by c.id desc
