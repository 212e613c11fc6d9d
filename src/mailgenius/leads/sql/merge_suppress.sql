-- Who opted out stays known: the addresses of duplicates that did, whose status goes with them; and the address of the lead
-- that stays, if one of its duplicates did not want any more mail. Sorted, as in suppress.sql. Index: primary key.
with member as (
    select m.keep, m.place, l.email, l.status, s.reason
    from unnest(%(keeps)s::int8[], %(members)s::int8[], %(places)s::int4[]) as m (keep, lead, place)
    join mailgenius.leads l on l.workspace_id = %(workspace)s::int4 and l.id = m.lead
    left join mailgenius.suppressions s on s.workspace_id = %(workspace)s::int4 and s.email = l.email
), listed as (
    select email, status as reason from member where place > 0 and status in ('complained', 'unsubscribed', 'bounced')
    union all
    select k.email, min(wish.reason) -- complained before unsubscribed
    from member k
    join member d on d.keep = k.keep and d.place > 0
    cross join lateral (values (d.status), (d.reason)) as wish (reason)
    where k.place = 0 and wish.reason in ('complained', 'unsubscribed')
    group by k.email
)
insert into mailgenius.suppressions (workspace_id, email, reason)
select %(workspace)s::int4, email, reason from listed order by email
on conflict (workspace_id, email) do nothing
