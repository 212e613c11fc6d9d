-- Campaigns, the newest first, with their kept counters. Indexes: primary keys of campaigns and campaign_counts.
select c.id, c.name, c.status, c.created_at, k.kinds, k.ns
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
order by c.id desc
