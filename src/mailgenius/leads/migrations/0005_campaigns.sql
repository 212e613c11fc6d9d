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

-- ns[i] of them in hour hours[i] (0 to 23) of the day, by created_at. The unique ones have no hour.
create table mailgenius.campaign_hours (
    workspace_id  integer not null,
    campaign_id   bigint not null,
    kind          text collate "C" not null,
    day           date not null,
    id            bigint generated always as identity,
    hours         smallint[] not null,
    ns            bigint[] not null,
    primary key (workspace_id, campaign_id, kind, day, id)
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);

-- Who did it, and how many times: what decides, with its primary key, which activity is the first one of a lead. It also
-- answers "opened in campaign X" without an index on lead_activities. Two transactions wait for one another only if both
-- write of the same lead, campaign and kind: which of them is the first cannot be known otherwise.
create table mailgenius.campaign_responses (
    workspace_id  integer not null,
    campaign_id   bigint not null,
    kind          text collate "C" not null,
    lead_id       bigint not null,
    n             integer not null,           -- activities
    was           integer not null default 0, -- n before the last change: RETURNING shows only what is
    primary key (workspace_id, campaign_id, kind, lead_id)
)
with (fillfactor = 90); -- n changes in place

-- RFC 5321, RFC 3463: replies that begin with 5 are for good, those with 4 are not.
create function mailgenius.send_kind(status text, error text) returns text language sql immutable parallel safe
return case when status <> 'bounced' then status
            when error like '5%' then 'bounced_hard'
            when error like '4%' then 'bounced_soft'
            else 'bounced' end;

create function mailgenius.hour_of_day(hour timestamp) returns smallint language sql immutable parallel safe
return coalesce(extract(hour from hour), 0)::smallint; -- of infinity, the first

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
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, hours, ns)
        select workspace, campaign, kind, day, array_agg(hour order by hour), array_agg(n order by hour)
        from sums group by kind, day
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into more;
    return saved + more;
end
$$;

-- Appends changes, given as arrays of the same length; an hour of NULL: none. Then throws the die of 0003 for each campaign.
create function mailgenius.add_campaign_counts(
    workspaces integer[], campaigns bigint[], kinds text[], at timestamp[], ns bigint[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    touched_workspaces integer[];
    touched_campaigns bigint[];
    rows bigint[];
begin
    if workspaces is null then
        return;
    end if;
    with given as materialized (
        select * from unnest(workspaces, campaigns, kinds, at, ns) as g (workspace_id, campaign_id, kind, hour, n)
    ), totals as (
        insert into mailgenius.campaign_counts (workspace_id, campaign_id, kind, n)
        select workspace_id, campaign_id, kind, sum(n) from given group by 1, 2, 3 having sum(n) <> 0
        returning workspace_id, campaign_id
    ), hourly as (
        insert into mailgenius.campaign_hours (workspace_id, campaign_id, kind, day, hours, ns)
        select workspace_id, campaign_id, kind, hour::date, array_agg(mailgenius.hour_of_day(hour)), array_agg(n)
        from (
            select workspace_id, campaign_id, kind, hour, sum(n)::bigint as n
            from given where hour is not null
            group by 1, 2, 3, 4 having sum(n) <> 0
        ) g
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4 -- neighbours in one page: a screen asks for a range of days
        returning workspace_id, campaign_id
    ), touched as (
        select workspace_id, campaign_id, count(*) as rows
        from (table totals union all table hourly) t
        group by 1, 2
    )
    select array_agg(workspace_id), array_agg(campaign_id), array_agg(t.rows)
    into touched_workspaces, touched_campaigns, rows
    from touched t;
    if current_setting('transaction_isolation') = 'read committed' then
        perform mailgenius.fold_campaign_counts(t.workspace_id, t.campaign_id)
        from unnest(touched_workspaces, touched_campaigns, rows) as t (workspace_id, campaign_id, n)
        where random() < 1.0 / 64 + t.n / 2000.0;
    end if;
end
$$;

-- Transition tables: `written` holds the new rows, but for DELETE, which has only old ones; `gone` the old rows of an UPDATE.
create function mailgenius.count_sends() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- of the hours
as $$
declare
    one integer := case tg_op when 'DELETE' then -1 else 1 end;
begin
    if tg_op <> 'UPDATE' then
        perform mailgenius.add_campaign_counts(
            array_agg(g.workspace_id), array_agg(g.campaign_id), array_agg(g.kind), array_agg(g.hour), array_agg(g.n))
        from (
            select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
                   date_trunc('hour', created_at::timestamp) as hour, one * count(*) as n
            from written group by 1, 2, 3, 4
        ) g;
    else
        perform mailgenius.add_campaign_counts(
            array_agg(g.workspace_id), array_agg(g.campaign_id), array_agg(g.kind), array_agg(g.hour), array_agg(g.n))
        from (
            select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
                   date_trunc('hour', created_at::timestamp) as hour, sum(sign) as n
            from (
                select workspace_id, campaign_id, status, error, created_at, 1 as sign from written
                union all
                select workspace_id, campaign_id, status, error, created_at, -1 from gone
            ) both_sides
            group by 1, 2, 3, 4 having sum(sign) <> 0
        ) g;
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
    workspaces integer[];
    campaigns bigint[];
    kinds text[];
    at timestamp[];
    ns bigint[];
    none_left boolean;
begin
    -- `given` may be as long as the statement's rows and stays a table; what goes into arrays is short.
    if tg_op <> 'UPDATE' then
        with given as materialized (
            select workspace_id, campaign_id, kind collate "C" as kind, lead_id,
                   date_trunc('hour', created_at::timestamp) as hour, one * count(*) as n
            from written where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3, 4, 5
        ), changed as (
            -- Sorted, so that two statements take these rows in one order.
            insert into mailgenius.campaign_responses as r (workspace_id, campaign_id, kind, lead_id, n)
            select workspace_id, campaign_id, kind, lead_id, sum(n) from given
            group by 1, 2, 3, 4
            order by 1, 2, 3, 4
            on conflict (workspace_id, campaign_id, kind, lead_id) do update set was = r.n, n = r.n + excluded.n
            returning r.workspace_id, r.campaign_id, r.kind, (r.n > 0)::integer - (r.was > 0)::integer as n, r.n = 0 as none
        ), sums as (
            select workspace_id, campaign_id, kind, hour, sum(n)::bigint as n from given group by 1, 2, 3, 4
            union all
            select workspace_id, campaign_id, kind || '_unique', null, sum(n)
            from changed group by 1, 2, 3 having sum(n) <> 0
        )
        select array_agg(s.workspace_id), array_agg(s.campaign_id), array_agg(s.kind), array_agg(s.hour), array_agg(s.n),
               (select bool_or(c.none) from changed c)
        into workspaces, campaigns, kinds, at, ns, none_left
        from sums s;
        if none_left then
            delete from mailgenius.campaign_responses r
            using (select distinct workspace_id, campaign_id, kind collate "C" as kind, lead_id from written) g
            where (r.workspace_id, r.campaign_id, r.kind, r.lead_id) = (g.workspace_id, g.campaign_id, g.kind, g.lead_id)
              and r.n = 0;
        end if;
    else
        with given as materialized (
            select workspace_id, campaign_id, kind collate "C" as kind, lead_id,
                   date_trunc('hour', created_at::timestamp) as hour, sum(sign) as n
            from (
                select workspace_id, campaign_id, kind, lead_id, created_at, 1 as sign from written
                union all
                select workspace_id, campaign_id, kind, lead_id, created_at, -1 from gone
            ) both_sides
            where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
            group by 1, 2, 3, 4, 5 having sum(sign) <> 0
        ), changed as (
            insert into mailgenius.campaign_responses as r (workspace_id, campaign_id, kind, lead_id, n)
            select workspace_id, campaign_id, kind, lead_id, sum(n) from given
            group by 1, 2, 3, 4 having sum(n) <> 0
            order by 1, 2, 3, 4
            on conflict (workspace_id, campaign_id, kind, lead_id) do update set was = r.n, n = r.n + excluded.n
            returning r.workspace_id, r.campaign_id, r.kind, (r.n > 0)::integer - (r.was > 0)::integer as n, r.n = 0 as none
        ), sums as (
            select workspace_id, campaign_id, kind, hour, sum(n)::bigint as n from given group by 1, 2, 3, 4 having sum(n) <> 0
            union all
            select workspace_id, campaign_id, kind || '_unique', null, sum(n)
            from changed group by 1, 2, 3 having sum(n) <> 0
        )
        select array_agg(s.workspace_id), array_agg(s.campaign_id), array_agg(s.kind), array_agg(s.hour), array_agg(s.n),
               (select bool_or(c.none) from changed c)
        into workspaces, campaigns, kinds, at, ns, none_left
        from sums s;
        if none_left then
            delete from mailgenius.campaign_responses r
            using (select distinct workspace_id, campaign_id, kind collate "C" as kind, lead_id from gone) g
            where (r.workspace_id, r.campaign_id, r.kind, r.lead_id) = (g.workspace_id, g.campaign_id, g.kind, g.lead_id)
              and r.n = 0;
        end if;
    end if;
    perform mailgenius.add_campaign_counts(workspaces, campaigns, kinds, at, ns);
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
    perform mailgenius.add_campaign_counts(
        array_agg(g.workspace_id), array_agg(g.campaign_id), array_agg(g.kind), array_agg(g.hour), array_agg(g.n))
    from (
        select workspace_id, campaign_id, mailgenius.send_kind(status, error) as kind,
               date_trunc('hour', created_at::timestamp) as hour, count(*) as n
        from mailgenius.email_sends group by 1, 2, 3, 4
    ) g;
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
    delete from mailgenius.campaign_responses;
    insert into mailgenius.campaign_responses (workspace_id, campaign_id, kind, lead_id, n)
    select workspace_id, campaign_id, kind collate "C", lead_id, count(*)
    from mailgenius.lead_activities
    where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
    group by 1, 2, 3, 4
    order by 1, 2, 3, 4;
    perform mailgenius.add_campaign_counts(
        array_agg(g.workspace_id), array_agg(g.campaign_id), array_agg(g.kind), array_agg(g.hour), array_agg(g.n))
    from (
        select workspace_id, campaign_id, kind, date_trunc('hour', created_at::timestamp) as hour, count(*) as n
        from mailgenius.lead_activities
        where campaign_id is not null and kind in ('open', 'click', 'unsubscribe')
        group by 1, 2, 3, 4
        union all
        select workspace_id, campaign_id, kind || '_unique', null, count(*)
        from mailgenius.campaign_responses group by 1, 2, 3
    ) g;
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
    execute format('create trigger count_updated after update on mailgenius.%I referencing old table as gone new table as written'
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

-- What makes two leads look like one person. NULL: says nothing. An index on (workspace_id, key) makes pages of duplicates
-- fast; there is none, because every import would pay for it.

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
