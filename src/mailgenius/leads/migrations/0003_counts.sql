-- Counters that screens show: leads by status, and leads by the day (UTC) on which they were created. Always exact.
--
-- A counter is the sum of its rows. Every statement that changes leads appends what it changed (+3 active, -1 bounced), in
-- its own transaction, and never touches a row that is there. Therefore
--   * rows and sums become visible together: whatever a snapshot sees of leads, it sees of the counters, after rollbacks,
--     crashes and in the middle of a transaction too;
--   * writers never wait for one another: there is no counter row to lock, however long their transactions;
--   * reading is one look at the primary key, and writes nothing.
-- So that sums stay short, a writer now and then folds: it takes rows away and appends their sum. FOR UPDATE SKIP LOCKED
-- gives every row to one folder only, and nobody waits for another one.

create table mailgenius.lead_counts (
    workspace_id  integer not null,
    status        text collate "C" not null,
    id            bigint generated always as identity,
    n             bigint not null,
    primary key (workspace_id, status, id)
)
-- Rows come and go. Vacuum by their number, not by their share; and do not shrink the file, which locks readers out.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);

-- A row for each month, not for each day: an import whose leads were created over years appends to all of them with every
-- chunk, and rows and their index entries are what costs. ns[i] leads on day days[i] of the month.
create table mailgenius.lead_days (
    workspace_id  integer not null,
    month         date not null,
    id            bigint generated always as identity,
    days          smallint[] not null,
    ns            bigint[] not null,
    primary key (workspace_id, month, id)
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);

-- The same day by day, for readers. Give it a range of months too: that is what the primary key finds.
create view mailgenius.lead_day_counts as
select d.workspace_id, d.month, d.month + (one.day - 1) as day, one.n
from mailgenius.lead_days d
cross join lateral unnest(d.days, d.ns) as one (day, n);

-- Which month, and which day of it. Of infinity, the first.
create function mailgenius.month_of(day date) returns date language sql immutable parallel safe
return date_trunc('month', day::timestamp)::date;

create function mailgenius.day_of_month(day date) returns smallint language sql immutable parallel safe
return coalesce(extract(day from day), 1)::smallint;

-- Folds the rows of one workspace, so many at most that it takes well under a second; the number of rows saved. Every
-- writer calls it now and then; calling it more often does no harm. Needs READ COMMITTED: elsewhere, meeting another
-- folder raises a serialization failure.
create function mailgenius.fold_lead_counts(workspace integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
    more bigint;
begin
    with taken as (
        delete from mailgenius.lead_counts
        where ctid = any (array(
            select c.ctid from mailgenius.lead_counts c
            where c.workspace_id = workspace
            limit 50000
            for update skip locked))
        returning status, n
    ), put as (
        insert into mailgenius.lead_counts (workspace_id, status, n)
        select workspace, status, sum(n) from taken group by status having sum(n) <> 0
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    -- Most months have one row and are left alone.
    with taken as (
        delete from mailgenius.lead_days
        where ctid = any (array(
            select d.ctid from mailgenius.lead_days d
            where d.workspace_id = workspace
              and d.month = any (array(
                  select m.month from mailgenius.lead_days m
                  where m.workspace_id = workspace group by m.month having count(*) > 1))
            limit 10000
            for update skip locked))
        returning month, days, ns
    ), sums as (
        select t.month, one.day, sum(one.n)::bigint as n
        from taken t cross join lateral unnest(t.days, t.ns) as one (day, n)
        group by 1, 2 having sum(one.n) <> 0
    ), put as (
        insert into mailgenius.lead_days (workspace_id, month, days, ns)
        select workspace, month, array_agg(day order by day), array_agg(n order by day) from sums group by month
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into more;
    return saved + more;
end
$$;

-- Statement-level, with transition tables: called once for each row, it would cost six times as much. INSERT, COPY, UPDATE,
-- DELETE, MERGE and ON CONFLICT all come here. Whoever may write leads need not be able to write counters.
create function mailgenius.count_leads() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- of the casts to date
as $$
declare
    rows bigint;
    appended bigint;
begin
    -- Two looks at the rows are cheaper than one that groups by status and day at once: that hardly makes them fewer.
    if tg_op = 'INSERT' then
        insert into mailgenius.lead_counts (workspace_id, status, n)
        select workspace_id, status, count(*) from added group by 1, 2;
        get diagnostics rows = row_count;
        insert into mailgenius.lead_days (workspace_id, month, days, ns)
        select d.workspace_id, mailgenius.month_of(d.day), array_agg(mailgenius.day_of_month(d.day)), array_agg(d.n)
        from (select workspace_id, created_at::date as day, count(*) as n from added group by 1, 2) d
        group by 1, 2
        order by 1, 2; -- neighbours in one page: a screen asks for a range of days
    elsif tg_op = 'DELETE' then
        insert into mailgenius.lead_counts (workspace_id, status, n)
        select workspace_id, status, -count(*) from gone group by 1, 2;
        get diagnostics rows = row_count;
        insert into mailgenius.lead_days (workspace_id, month, days, ns)
        select d.workspace_id, mailgenius.month_of(d.day), array_agg(mailgenius.day_of_month(d.day)), array_agg(d.n)
        from (select workspace_id, created_at::date as day, -count(*) as n from gone group by 1, 2) d
        group by 1, 2
        order by 1, 2;
    else
        -- Sums need no join of old rows with new ones; where neither status nor day changed, all of them are 0.
        insert into mailgenius.lead_counts (workspace_id, status, n)
        select workspace_id, status, sum(one)
        from (
            select workspace_id, status, 1 as one from added
            union all
            select workspace_id, status, -1 from gone
        ) both_sides
        group by 1, 2
        having sum(one) <> 0;
        get diagnostics rows = row_count;
        insert into mailgenius.lead_days (workspace_id, month, days, ns)
        select d.workspace_id, mailgenius.month_of(d.day), array_agg(mailgenius.day_of_month(d.day)), array_agg(d.n)
        from (
            select workspace_id, day, sum(one) as n
            from (
                select workspace_id, created_at::date as day, 1 as one from added
                union all
                select workspace_id, created_at::date, -1 from gone
            ) both_sides
            group by 1, 2
            having sum(one) <> 0
        ) d
        group by 1, 2
        order by 1, 2;
    end if;
    get diagnostics appended = row_count;

    -- One statement in 64 folds, and more often the more rows it left. A die instead of a look at how many there are: it
    -- costs nothing, and a transaction that keeps rows locked for long cannot make all others try at every statement.
    if rows + appended > 0 and random() < 1.0 / 64 + (rows + appended) / 2000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        if tg_op = 'DELETE' then
            perform mailgenius.fold_lead_counts(w.workspace_id) from (select distinct workspace_id from gone) w;
        else
            perform mailgenius.fold_lead_counts(w.workspace_id) from (select distinct workspace_id from added) w;
        end if;
    end if;
    return null;
end
$$;

-- TRUNCATE waits for everybody who has written leads, and its effect is seen at once by all. So is this one's.
create function mailgenius.uncount_leads() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate mailgenius.lead_counts, mailgenius.lead_days;
    return null;
end
$$;

-- Counts everything anew, while writers of leads wait and readers do not. For what went past the triggers: rows loaded with
-- triggers disabled, or a dump of data alone.
create function mailgenius.recount_leads() returns void
language plpgsql
set timezone = 'UTC'
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'recount_leads: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.leads in share row exclusive mode; -- writers of leads
    lock table mailgenius.lead_counts, mailgenius.lead_days in share row exclusive mode; -- folders
    delete from mailgenius.lead_counts;
    delete from mailgenius.lead_days;
    with sums as materialized (
        select workspace_id, status, created_at::date as day, count(*) as n from mailgenius.leads group by 1, 2, 3
    ), by_status as (
        insert into mailgenius.lead_counts (workspace_id, status, n)
        select workspace_id, status, sum(n) from sums group by 1, 2
    )
    insert into mailgenius.lead_days (workspace_id, month, days, ns)
    select d.workspace_id, d.month, array_agg(d.day order by d.day), array_agg(d.n order by d.day)
    from (
        select workspace_id, mailgenius.month_of(day) as month, mailgenius.day_of_month(day) as day, sum(n)::bigint as n
        from sums group by 1, 2, 3
    ) d
    group by 1, 2;
end
$$;

select mailgenius.recount_leads(); -- its lock stays until the triggers are there too

create trigger count_inserted after insert on mailgenius.leads
    referencing new table as added
    for each statement execute function mailgenius.count_leads();
create trigger count_updated after update on mailgenius.leads
    referencing old table as gone new table as added
    for each statement execute function mailgenius.count_leads();
create trigger count_deleted after delete on mailgenius.leads
    referencing old table as gone
    for each statement execute function mailgenius.count_leads();
create trigger count_truncated after truncate on mailgenius.leads
    for each statement execute function mailgenius.uncount_leads();
