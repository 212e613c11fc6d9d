-- What the leads that stay become, from all of their group. A rank says whose value counts first. Index: primary key.
with member as (
    select m.keep, m.place, l.*,
           case when %(newest)s::bool then row_number() over (partition by m.keep order by l.updated_at desc, m.place)
                else m.place end as rank,
           case when 'complained' in (l.status, s.reason) then 3
                when 'unsubscribed' in (l.status, s.reason) then 2
                when l.status = 'bounced' then 1 end as strictness
    from unnest(%(keeps)s::int8[], %(members)s::int8[], %(places)s::int4[]) as m (keep, lead, place)
    join mailgenius.leads l on l.workspace_id = %(workspace)s::int4 and l.id = m.lead
    left join mailgenius.suppressions s on s.workspace_id = %(workspace)s::int4 and s.email = l.email
), plain as (
    select keep,
           (array_agg(first_name order by rank) filter (where first_name <> ''))[1] as first_name,
           (array_agg(last_name order by rank) filter (where last_name <> ''))[1] as last_name,
           (array_agg(phone order by rank) filter (where phone <> ''))[1] as phone,
           (array_agg(company order by rank) filter (where company <> ''))[1] as company,
           (array_agg(city order by rank) filter (where city <> ''))[1] as city,
           (array_agg(country order by rank) filter (where country <> ''))[1] as country,
           (array['bounced', 'unsubscribed', 'complained'])[max(strictness)] as status,
           max(score) as score, min(created_at) as created_at
    from member group by keep
), tag as (
    select keep, array_agg(tag order by place, nth) as tags
    from (
        select distinct on (m.keep, t.tag) m.keep, m.place, t.tag, t.nth
        from member m cross join lateral unnest(m.tags) with ordinality as t (tag, nth)
        order by m.keep, t.tag, m.place, t.nth
    ) firsts
    group by keep
), attribute as (
    -- Of several values the last one stays. Something is more than nothing: null never takes the place of a value.
    select m.keep, jsonb_object_agg(a.key, a.value order by a.value <> 'null', m.rank desc) as attributes
    from member m cross join lateral jsonb_each(m.attributes) as a
    group by m.keep
)
update mailgenius.leads l
set first_name = p.first_name, last_name = p.last_name, phone = p.phone, company = p.company, city = p.city,
    country = p.country, tags = coalesce(t.tags, '{}'), attributes = coalesce(a.attributes, '{}'),
    status = coalesce(p.status, l.status), score = p.score, created_at = p.created_at, updated_at = now()
from plain p
left join tag t on t.keep = p.keep
left join attribute a on a.keep = p.keep
where l.workspace_id = %(workspace)s::int4 and l.id = p.keep
returning l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags,
          l.attributes, l.status, l.score, l.created_at, l.updated_at, l.import_id
