-- Counters of campaigns: sends by status, activities by kind, who did something at all; in total and by hour (UTC). Always
-- exact. And what makes two leads look like one person.
--
-- As in 0003: a counter is the sum of its rows; every statement appends what it changed, in its own transaction; now and
-- then a writer folds. The kinds: the status of a send, but bounced_hard and bounced_soft where its error says so; open,
-- click and unsubscribe as activities; open_unique and so on for the leads who did it at least once.

create table mailgenius.campaign_counts (
    workspace_id  integer not null,
    campaign_id   bigint not null,
    kind          text collate "C" not null,
    id            bigint generated always as identity,
    n             bigint not null,
    primary key (workspace_id, campaign_id, kind, id)
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);

-- n of them on the day, ns[i] in its hour hours[i] (0 to 23), by created_at. The unique ones have no hour.
create table mailgenius.campaign_hours (
    workspace_id  integer not null,
    campaign_id   bigint not null,
    kind          text collate "C" not null,
    day           date not null,
    id            bigint generated always as identity,
    n             bigint not null,
    hours         smallint[] not null,
    ns            bigint[] not null,
    primary key (workspace_id, campaign_id, kind, day, id)
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);

-- Who did what in a campaign, and how many times: what decides, with its primary key, which activity is the first one of a
-- lead. It also answers "opened in campaign X" without an index on lead_activities. Two transactions wait for one another
-- only if both write of the same lead and campaign: which of them is the first cannot be known otherwise.
create table mailgenius.campaign_leads (
    campaign_id   bigint not null,
    lead_id       bigint not null,
    workspace_id  integer not null,
    opens         integer not null,
    clicks        integer not null,
    unsubscribes  integer not null,
    -- whether there were any before the last change: RETURNING shows only what is
    opened        boolean not null default false,
    clicked       boolean not null default false,
    unsubscribed  boolean not null default false,
    primary key (workspace_id, campaign_id, lead_id)
)
with (fillfactor = 90); -- the numbers change in place

-- RFC 5321, RFC 3463: replies that begin with 5 are for good, those with 4 are not.
create function mailgenius.send_kind(status text, error text) returns text language sql immutable parallel safe
return case when status <> 'bounced' then status
            when error like '5%' then 'bounced_hard'
            when error like '4%' then 'bounced_soft'
            else 'bounced' end;

create function mailgenius.hour_of_day(hour timestamptz) returns smallint language sql immutable parallel safe
return coalesce(extract(hour from hour at time zone 'UTC'), 0)::smallint; -- of infinity, the first

-- Folds the rows of one campaign; the number of rows saved. As fold_lead_counts: harmless at any time, for READ COMMITTED.
create function mailgenius.fold_campaign_counts(workspace integer, campaign bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
    more bigint;
begin
    with taken as (
        delete from mailgenius.campaign_counts
        where ctid = any (array(
            select c.ctid from mailgenius.campaign_counts c
            where c.workspace_id = workspace and c.campaign_id = campaign
            limit 50000
            for update skip locked))
        returning kind, n
    ), put as (
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace, campaign, kind, sum(n) from taken group by kind having sum(n) <> 0
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    -- Most days have one row and are left alone.
    with taken as (
        delete from mailgenius.campaign_hours
        where ctid = any (array(
            select h.ctid from mailgenius.campaign_hours h
            where h.workspace_id = workspace and h.campaign_id = campaign
              and (h.kind, h.day) in (
                  select m.kind, m.day from mailgenius.campaign_hours m
                  where m.workspace_id = workspace and m.campaign_id = campaign
                  group by m.kind, m.day having count(*) > 1)
            limit 10000
            for update skip locked))
        returning kind, day, hours, ns
    ), sums as (
        select t.kind, t.day, one.hour, sum(one.n)::bigint as n
        from taken t cross join lateral unnest(t.hours, t.ns) as one (hour, n)
        group by 1, 2, 3 having sum(one.n) <> 0
    ), put as (
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
        select workspace, campaign, kind, day, sum(n), array_agg(hour order by hour), array_agg(n order by hour)
        from sums group by kind, day
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into more;
    return saved + more;
end
$$;

-- Transition tables: `written` holds the new rows, but for DELETE, which has only old ones; `gone` the old rows of an
-- UPDATE.
create function mailgenius.count_sends() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- of days and hours
as $$
declare
    one integer := case tg_op when 'DELETE' then -1 else 1 end;
    rows bigint;
    appended bigint;
begin
    if tg_op <> 'UPDATE' then
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, mailgenius.send_kind(status, error), one * count(*) from written group by 1, 2, 3;
        get diagnostics rows = row_count;
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
        select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
        from (
            select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
                   date_bin('1 hour', created_at, 'epoch') as hour, one * count(*) as n
            from written group by 1, 2, 3, 4
        ) h
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4; -- neighbours in one page: a screen asks for a range of days
    else
        -- Sums need no join of old rows with new ones; where nothing that counts changed, all of them are 0.
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, sum(sign)
        from (
            select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind, 1 as sign from written
            union all
            select workspace_id, campaign_id, mailgenius.send_kind(status, error), -1 from gone
        ) both_sides
        group by 1, 2, 3 having sum(sign) <> 0;
        get diagnostics rows = row_count;
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
        select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
        from (
            select workspace_id, campaign_id, kind, hour, sum(sign) as n
            from (
                select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
                       date_bin('1 hour', created_at, 'epoch') as hour, 1 as sign
                from written
                union all
                select workspace_id, campaign_id, mailgenius.send_kind(status, error),
                       date_bin('1 hour', created_at, 'epoch'), -1
                from gone
            ) both_sides
            group by 1, 2, 3, 4 having sum(sign) <> 0
        ) h
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4;
    end if;
    get diagnostics appended = row_count;

    -- The die of 0003. A statement about many campaigns folds only some of them.
    if rows + appended > 0 and random() < 1.0 / 64 + (rows + appended) / 2000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_campaign_counts(w.workspace_id, w.campaign_id)
        from (select distinct workspace_id, campaign_id from written) w
        order by random() limit 1 + (rows + appended) / 2000;
    end if;
    return null;
end
$$;

create function mailgenius.count_activities() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    one integer := case tg_op when 'DELETE' then -1 else 1 end;
    rows bigint;
    appended bigint;
begin
    if tg_op <> 'UPDATE' then
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, one * count(*)
        from written where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
        group by 1, 2, 3;
        get diagnostics rows = row_count;
        if rows = 0 then
            return null;
        end if;
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
        select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
        from (
            select workspace_id, campaign_id, kind, date_bin('1 hour', created_at, 'epoch') as hour, one * count(*) as n
            from written where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3, 4
        ) h
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4;
        get diagnostics appended = row_count;
        with changed as (
            -- Sorted, so that two statements take these rows in one order.
            insert into mailgenius.campaign_leads as r (workspace_id, campaign_id, lead_id, opens, clicks, unsubscribes)
            select workspace_id, campaign_id, lead_id, one * count(*) filter (where kind = 'open'),
                   one * count(*) filter (where kind = 'click'), one * count(*) filter (where kind = 'unsubscribe')
            from written where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3
            order by 1, 2, 3
            on conflict (workspace_id, campaign_id, lead_id) do update
            set opens = r.opens + excluded.opens, opened = r.opens > 0,
                clicks = r.clicks + excluded.clicks, clicked = r.clicks > 0,
                unsubscribes = r.unsubscribes + excluded.unsubscribes, unsubscribed = r.unsubscribes > 0
            returning r.*
        )
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select c.workspace_id, c.campaign_id, one.kind, sum(one.n)
        from changed c
        cross join lateral (values
            ('open_unique', (opens > 0)::integer - opened::integer),
            ('click_unique', (clicks > 0)::integer - clicked::integer),
            ('unsubscribe_unique', (unsubscribes > 0)::integer - unsubscribed::integer)) as one (kind, n)
        where one.n <> 0
        group by 1, 2, 3 having sum(one.n) <> 0;
        if one < 0 then
            delete from mailgenius.campaign_leads r
            using (select distinct workspace_id, campaign_id, lead_id from written where campaign_id is not null) w
            where r.workspace_id = w.workspace_id and r.campaign_id = w.campaign_id and r.lead_id = w.lead_id
              and r.opens = 0 and r.clicks = 0 and r.unsubscribes = 0;
        end if;
    else
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, sum(sign)
        from (
            select workspace_id, campaign_id, kind, 1 as sign from written
            union all
            select workspace_id, campaign_id, kind, -1 from gone
        ) both_sides
        where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
        group by 1, 2, 3 having sum(sign) <> 0;
        get diagnostics rows = row_count;
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
        select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
        from (
            select workspace_id, campaign_id, kind, date_bin('1 hour', created_at, 'epoch') as hour, sum(sign) as n
            from (
                select workspace_id, campaign_id, kind, created_at, 1 as sign from written
                union all
                select workspace_id, campaign_id, kind, created_at, -1 from gone
            ) both_sides
            where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3, 4 having sum(sign) <> 0
        ) h
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4;
        get diagnostics appended = row_count;
        with sums as (
            select workspace_id, campaign_id, lead_id, kind, sum(sign) as n
            from (
                select workspace_id, campaign_id, lead_id, kind, 1 as sign from written
                union all
                select workspace_id, campaign_id, lead_id, kind, -1 from gone
            ) both_sides
            where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3, 4 having sum(sign) <> 0
        ), changed as (
            insert into mailgenius.campaign_leads as r (workspace_id, campaign_id, lead_id, opens, clicks, unsubscribes)
            select workspace_id, campaign_id, lead_id, coalesce(sum(n) filter (where kind = 'open'), 0),
                   coalesce(sum(n) filter (where kind = 'click'), 0),
                   coalesce(sum(n) filter (where kind = 'unsubscribe'), 0)
            from sums
            group by 1, 2, 3
            order by 1, 2, 3
            on conflict (workspace_id, campaign_id, lead_id) do update
            set opens = r.opens + excluded.opens, opened = r.opens > 0,
                clicks = r.clicks + excluded.clicks, clicked = r.clicks > 0,
                unsubscribes = r.unsubscribes + excluded.unsubscribes, unsubscribed = r.unsubscribes > 0
            returning r.*
        )
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select c.workspace_id, c.campaign_id, one.kind, sum(one.n)
        from changed c
        cross join lateral (values
            ('open_unique', (opens > 0)::integer - opened::integer),
            ('click_unique', (clicks > 0)::integer - clicked::integer),
            ('unsubscribe_unique', (unsubscribes > 0)::integer - unsubscribed::integer)) as one (kind, n)
        where one.n <> 0
        group by 1, 2, 3 having sum(one.n) <> 0;
        delete from mailgenius.campaign_leads r
        using (select distinct workspace_id, campaign_id, lead_id from gone where campaign_id is not null) g
        where r.workspace_id = g.workspace_id and r.campaign_id = g.campaign_id and r.lead_id = g.lead_id
          and r.opens = 0 and r.clicks = 0 and r.unsubscribes = 0;
    end if;

    if rows + appended > 0 and random() < 1.0 / 64 + (rows + appended) / 2000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_campaign_counts(w.workspace_id, w.campaign_id)
        from (select distinct workspace_id, campaign_id from written where campaign_id is not null) w
        order by random() limit 1 + (rows + appended) / 2000;
    end if;
    return null;
end
$$;

-- Counts the sends of all campaigns anew, while those who write sends wait and readers do not. With a transaction that
-- writes both sends and activities it may deadlock: then nothing was changed, and it can be called again.
create function mailgenius.recount_sends() returns void
language plpgsql
set timezone = 'UTC'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'recount_sends: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.email_sends in share row exclusive mode; -- and its partitions
    lock table mailgenius.campaign_counts, mailgenius.campaign_hours in share row exclusive mode; -- folders
    delete from mailgenius.campaign_counts where kind not in ('open', 'click', 'unsubscribe')
        and kind not in ('open_unique', 'click_unique', 'unsubscribe_unique');
    delete from mailgenius.campaign_hours where kind not in ('open', 'click', 'unsubscribe');
    with sums as materialized (
        select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
               date_bin('1 hour', created_at, 'epoch') as hour, count(*) as n
        from mailgenius.email_sends group by 1, 2, 3, 4
    ), totals as (
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, sum(n) from sums group by 1, 2, 3
    )
    insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
    select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
    from sums group by 1, 2, 3, 4 order by 1, 2, 3, 4;
end
$$;

-- The same for activities.
create function mailgenius.recount_activities() returns void
language plpgsql
set timezone = 'UTC'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'recount_activities: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.lead_activities in share row exclusive mode;
    lock table mailgenius.campaign_counts, mailgenius.campaign_hours in share row exclusive mode;
    delete from mailgenius.campaign_counts where kind in ('open', 'click', 'unsubscribe')
        or kind in ('open_unique', 'click_unique', 'unsubscribe_unique');
    delete from mailgenius.campaign_hours where kind in ('open', 'click', 'unsubscribe');
    delete from mailgenius.campaign_leads;
    insert into mailgenius.campaign_leads (workspace_id, campaign_id, lead_id, opens, clicks, unsubscribes)
    select workspace_id, campaign_id, lead_id, count(*) filter (where kind = 'open'),
           count(*) filter (where kind = 'click'), count(*) filter (where kind = 'unsubscribe')
    from mailgenius.lead_activities
    where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
    group by 1, 2, 3
    order by 1, 2, 3;
    with sums as materialized (
        select workspace_id, campaign_id, kind, date_bin('1 hour', created_at, 'epoch') as hour, count(*) as n
        from mailgenius.lead_activities
        where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
        group by 1, 2, 3, 4
    ), totals as (
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, sum(n) from sums group by 1, 2, 3
        union all
        select l.workspace_id, l.campaign_id, one.kind, count(*)
        from mailgenius.campaign_leads l
        cross join lateral (values ('open_unique', opens), ('click_unique', clicks), ('unsubscribe_unique', unsubscribes))
            as one (kind, n)
        where one.n > 0
        group by 1, 2, 3
    )
    insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, n, hours, ns)
    select workspace_id, campaign_id, kind, hour::date, sum(n), array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
    from sums group by 1, 2, 3, 4 order by 1, 2, 3, 4;
end
$$;

-- After TRUNCATE, of all or of a single month: what is left is counted.
create function mailgenius.recount_truncated() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_argv[0] = 'email_sends' then
        perform mailgenius.recount_sends();
    else
        perform mailgenius.recount_activities();
    end if;
    return null;
end
$$;

-- A statement calls the triggers of the table that it names, and of no other: so each partition has its own, for those who
-- write to it and not to the whole. No row is counted twice.
create function mailgenius.count_partition(parent text, child text) returns void
language plpgsql
as $$
declare
    counter text := case parent when 'email_sends' then 'count_sends' else 'count_activities' end;
begin
    execute format('create trigger count_inserted after insert on mailgenius.%I referencing new table as written'
                   ' for each statement execute function mailgenius.%I()', child, counter);
    execute format('create trigger count_updated after update on mailgenius.%I'
                   ' referencing old table as gone new table as written'
                   ' for each statement execute function mailgenius.%I()', child, counter);
    execute format('create trigger count_deleted after delete on mailgenius.%I referencing old table as written'
                   ' for each statement execute function mailgenius.%I()', child, counter);
    execute format('create trigger count_truncated after truncate on mailgenius.%I'
                   ' for each statement execute function mailgenius.recount_truncated(%L)', child, parent);
end
$$;

-- As in 0002, with the counters of the new partition. What it moves stays counted.
create or replace function mailgenius.create_month(parent text, day date) returns boolean
language plpgsql
set timezone = 'UTC'
as $$
declare
    first_day date := date_trunc('month', day)::date;
    next_month date := (date_trunc('month', day) + interval '1 month')::date;
    child text := parent || to_char(first_day, '_YYYY_MM');
    rest text := parent || '_default';
begin
    if parent not in ('email_sends', 'lead_activities') then
        raise exception 'create_month: no partitioned table mailgenius.%', parent using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('mailgenius.create_month.' || parent, 0));
    if to_regclass(format('mailgenius.%I', child)) is not null then
        return false;
    end if;
    -- Rows must not slip into the default partition between the move and the attach.
    execute format('lock table mailgenius.%I in share row exclusive mode', rest);
    execute format('create table mailgenius.%I (like mailgenius.%I including all excluding identity)', child, parent);
    execute format('alter table mailgenius.%I disable trigger count_deleted', rest);
    execute format(
        'with moved as (delete from mailgenius.%I where created_at >= %L and created_at < %L returning *)
         insert into mailgenius.%I select * from moved',
        rest, first_day::timestamptz, next_month::timestamptz, child);
    execute format('alter table mailgenius.%I enable trigger count_deleted', rest);
    perform mailgenius.count_partition(parent, child);
    execute format(
        'alter table mailgenius.%I attach partition mailgenius.%I for values from (%L) to (%L)',
        parent, child, first_day::timestamptz, next_month::timestamptz);
    return true;
end
$$;

select mailgenius.recount_sends(); -- the locks stay until the triggers are there too
select mailgenius.recount_activities();
select mailgenius.count_partition(parent, c.relname)
from unnest(array['email_sends', 'lead_activities']) as parent
cross join lateral pg_partition_tree(('mailgenius.' || parent)::regclass) tree
join pg_class c on c.oid = tree.relid;

-- What makes two leads look like one person. NULL: says nothing. An index on (workspace_id, key) spares pages of duplicates
-- from reading the workspace; there is none, because every import would pay for it.

-- The digits of a phone number, without 00 or + in front; at least seven.
create function mailgenius.phone_key(phone text) returns text language sql immutable parallel safe
return (regexp_match(regexp_replace(phone, '[^0-9]+', '', 'g'), '^(?:00)?([0-9]{7,})$'))[1];

-- Name and company, all of them given, without case, accents, spaces and punctuation.
create function mailgenius.person_key(first_name text, last_name text, company text) returns text
language sql immutable parallel safe
return case when first_name <> '' and last_name <> '' and company <> ''
    then lower(regexp_replace(normalize(first_name || last_name || ' ' || company, nfkd),
                              '[\u0300-\u036f[:space:][:punct:]]+', '', 'g')) end;

-- The mailbox behind an address: without +something; at Gmail without dots too.
create function mailgenius.mailbox_key(email text) returns text language sql immutable parallel safe
return case
    when email like '"%' then email
    when email ~ '@(gmail|googlemail)[.]com$'
        then replace(split_part(split_part(email, '@', 1), '+', 1), '.', '') || '@gmail.com'
    when email like '_%+%@%' then split_part(split_part(email, '@', 1), '+', 1) || '@' || split_part(email, '@', -1)
    else email end;
