-- Search by a part of a name or company, without an extension: the names of 128 neighbours (lead id >> 7) lie together as
-- lower-case text, a line for each lead, which strpos reads at more than a gigabyte a second. What is found there is looked up
-- in leads, so a text may name who left or was renamed, but must never lack anybody: a statement appends what it wrote and
-- touches no row that is there. Now and then a writer makes a crowded block anew from leads.

create table mailgenius.lead_texts (
    workspace_id  integer not null,
    block         bigint not null,
    id            bigint generated always as identity,
    texts         text not null,
    primary key (workspace_id, block, id)
)
-- In the row itself, as long as it fits a page: compressing and fetching would take longer than searching.
with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
      vacuum_truncate = false);

-- What lead_search_text.sql looks for.
create function mailgenius.search_line(first_name text, last_name text, company text) returns text
language sql immutable parallel safe
return lower(coalesce(first_name || ' ', '') || coalesce(last_name, '') || coalesce(E'\n' || company, ''));

create function mailgenius.fold_lead_texts(workspace integer, low bigint, high bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
begin
    with crowded as materialized (
        select block from mailgenius.lead_texts
        where workspace_id = workspace and block between low and high
        group by block
        having count(*) > 4
        limit 1000
    ), taken as (
        delete from mailgenius.lead_texts
        where ctid = any (array(
            select t.ctid from crowded c
            join mailgenius.lead_texts t on t.workspace_id = workspace and t.block = c.block
            for update of t skip locked))
        returning block
    ), put as (
        insert into mailgenius.lead_texts (workspace_id, block, texts)
        select workspace, t.block, made.texts
        from (select distinct block from taken) t
        cross join lateral (
            select string_agg(mailgenius.search_line(l.first_name, l.last_name, l.company), E'\n') as texts
            from mailgenius.leads l
            where l.workspace_id = workspace and l.id between t.block << 7 and (t.block << 7) + 127
              and (l.first_name is not null or l.last_name is not null or l.company is not null)
        ) made
        where made.texts is not null
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    return saved;
end
$$;

create function mailgenius.index_lead_texts() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    appended bigint;
begin
    if tg_op = 'INSERT' then
        insert into mailgenius.lead_texts (workspace_id, block, texts)
        select workspace_id, id >> 7,
               string_agg(lower(coalesce(first_name || ' ', '') || coalesce(last_name, '') || coalesce(E'\n' || company, '')),
                          E'\n')
        from added
        where first_name is not null or last_name is not null or company is not null
        group by workspace_id, id >> 7;
    else
        insert into mailgenius.lead_texts (workspace_id, block, texts)
        -- Not a join, whose plan is made for the first statement of a session and kept: for one of a few rows, that is a
        -- loop in a loop.
        select workspace_id, id >> 7, string_agg(mailgenius.search_line(first_name, last_name, company), E'\n')
        from (
            select workspace_id, id, first_name, last_name, company from added
            except
            select workspace_id, id, first_name, last_name, company from gone
        ) renamed
        where first_name is not null or last_name is not null or company is not null
        group by workspace_id, id >> 7;
    end if;
    get diagnostics appended = row_count;
    if appended > 0 and random() < 1.0 / 64 + appended / 20000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_lead_texts(w.workspace_id, w.low, w.high)
        from (select workspace_id, min(id) >> 7 as low, max(id) >> 7 as high from added group by workspace_id) w;
    end if;
    return null;
end
$$;

create function mailgenius.forget_lead_texts() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate mailgenius.lead_texts;
    return null;
end
$$;

-- All texts anew, while writers of leads wait and readers do not: after rows were loaded with triggers disabled.
create function mailgenius.rebuild_lead_texts() returns void
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuild_lead_texts: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.leads in share row exclusive mode;
    lock table mailgenius.lead_texts in share row exclusive mode;
    delete from mailgenius.lead_texts;
    insert into mailgenius.lead_texts (workspace_id, block, texts)
    select workspace_id, id >> 7, string_agg(mailgenius.search_line(first_name, last_name, company), E'\n' order by id)
    from mailgenius.leads
    where first_name is not null or last_name is not null or company is not null
    group by workspace_id, id >> 7;
end
$$;

select mailgenius.rebuild_lead_texts(); -- its locks stay until the triggers are there too

create trigger search_inserted after insert on mailgenius.leads
    referencing new table as added
    for each statement execute function mailgenius.index_lead_texts();
create trigger search_updated after update on mailgenius.leads
    referencing old table as gone new table as added
    for each statement execute function mailgenius.index_lead_texts();
create trigger search_truncated after truncate on mailgenius.leads
    for each statement execute function mailgenius.forget_lead_texts();
