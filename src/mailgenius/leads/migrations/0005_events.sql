-- Bitmap indexes of what happened to leads (0004_bitmaps.sql tells how they work): what was sent to whom, who opened and who
-- clicked, by campaign ('sent', 'opened', 'clicked'; value: its number) and by day ('sent_on' …; value: days since
-- 2000-01-01, UTC). A lead can be sent the same campaign twice, so a block is the OR of its rows, and not their XOR; where
-- sends or activities of a lead that stays are deleted, the block is made anew.

create table mailgenius.event_bitmaps (
    workspace_id  integer not null,
    facet         text collate "C" not null,
    value         bigint not null,
    block         bigint not null,
    id            bigint generated always as identity,
    bits          bit(1024) not null,
    primary key (workspace_id, facet, value, block, id)
)
with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, vacuum_truncate = false);

create function mailgenius.bitmap_day(moment timestamptz) returns bigint language sql immutable parallel safe
return case when isfinite(moment) then (moment at time zone 'UTC')::date - date '2000-01-01' else 0 end;

create function mailgenius.fold_event_bitmaps(workspace integer, low bigint, high bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
begin
    with crowded as materialized (
        select facet, value, block from mailgenius.event_bitmaps
        where workspace_id = workspace and block between low and high
        group by facet, value, block
        having count(*) > 4
        limit 10000
    ), taken as (
        delete from mailgenius.event_bitmaps
        where ctid = any (array(
            select b.ctid from crowded c
            join mailgenius.event_bitmaps b
                on b.workspace_id = workspace and b.facet = c.facet and b.value = c.value and b.block = c.block
            for update of b skip locked))
        returning facet, value, block, bits
    ), put as (
        insert into mailgenius.event_bitmaps (workspace_id, facet, value, block, bits)
        select workspace, facet, value, block, bit_or(bits) from taken
        group by facet, value, block
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    return saved;
end
$$;

-- Sends or activities that came. tg_argv[0]: 'sends' or 'activities'.
create function mailgenius.index_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    appended bigint;
begin
    if tg_argv[0] = 'sends' then
        insert into mailgenius.event_bitmaps (workspace_id, facet, value, block, bits)
        select w.workspace_id, v.facet, v.value, w.word >> 4,
               bit_or(overlay(0::bit(1024) placing w.bits::bit(64) from ((w.word & 15) * 64)::integer + 1 for 64))
        from (
            select workspace_id, campaign_id, mailgenius.bitmap_day(created_at) as day, lead_id >> 6 as word,
                   bit_or(1::bigint << (63 - (lead_id & 63))::integer) as bits
            from added
            group by 1, 2, 3, 4
        ) w
        cross join lateral (values ('sent', w.campaign_id), ('sent_on', w.day)) v (facet, value)
        group by w.workspace_id, v.facet, v.value, w.word >> 4;
    else
        insert into mailgenius.event_bitmaps (workspace_id, facet, value, block, bits)
        select w.workspace_id, v.facet, v.value, w.word >> 4,
               bit_or(overlay(0::bit(1024) placing w.bits::bit(64) from ((w.word & 15) * 64)::integer + 1 for 64))
        from (
            select workspace_id, case kind when 'open' then 'opened' else 'clicked' end as facet, campaign_id,
                   mailgenius.bitmap_day(created_at) as day, lead_id >> 6 as word,
                   bit_or(1::bigint << (63 - (lead_id & 63))::integer) as bits
            from added
            where kind in ('open', 'click')
            group by 1, 2, 3, 4, 5
        ) w
        cross join lateral (values (w.facet, w.campaign_id), (w.facet || '_on', w.day)) v (facet, value)
        where v.value is not null
        group by w.workspace_id, v.facet, v.value, w.word >> 4;
    end if;
    get diagnostics appended = row_count;
    if appended > 0 and random() < 1.0 / 64 + appended / 20000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_event_bitmaps(w.workspace_id, w.low, w.high)
        from (select workspace_id, min(lead_id) >> 10 as low, max(lead_id) >> 10 as high
              from added group by workspace_id) w;
    end if;
    return null;
end
$$;

-- Makes blocks anew from what is in the tables; keys: {workspace, facet, value, block}. All rows of a block that can be seen
-- are deleted first, again and again while others merge them; only then is it read what they must say, so what came
-- meanwhile is in both. Of two who do this, one waits for the other at the rows.
create function mailgenius.remake_event_blocks(keys mailgenius.event_bitmaps[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    loop
        delete from mailgenius.event_bitmaps
        where ctid = any (array(
            select b.ctid
            from unnest(keys) k
            join mailgenius.event_bitmaps b
                on b.workspace_id = k.workspace_id and b.facet = k.facet and b.value = k.value and b.block = k.block
            order by b.workspace_id, b.facet, b.value, b.block, b.id
            for update of b));
        -- Not "found": a row that was waited for, and is gone, has left another one that only a new look can see.
        exit when not exists (
            select
            from unnest(keys) k
            join mailgenius.event_bitmaps b
                on b.workspace_id = k.workspace_id and b.facet = k.facet and b.value = k.value and b.block = k.block);
    end loop;
    insert into mailgenius.event_bitmaps (workspace_id, facet, value, block, bits)
    select k.workspace_id, k.facet, k.value, k.block, made.bits
    from unnest(keys) k
    cross join lateral (
        select bit_or(set_bit(0::bit(1024), (e.lead_id & 1023)::integer, 1)) as bits
        from (
            select s.lead_id from mailgenius.email_sends s
            where k.facet = 'sent' and s.workspace_id = k.workspace_id and s.campaign_id = k.value
              and s.lead_id between k.block << 10 and (k.block << 10) + 1023
            union all
            select s.lead_id from mailgenius.email_sends s
            where k.facet = 'sent_on' and s.workspace_id = k.workspace_id and mailgenius.bitmap_day(s.created_at) = k.value
              and s.lead_id between k.block << 10 and (k.block << 10) + 1023
            union all
            select a.lead_id from mailgenius.lead_activities a
            where k.facet in ('opened', 'clicked') and a.workspace_id = k.workspace_id and a.campaign_id = k.value
              and a.kind = case k.facet when 'opened' then 'open' else 'click' end
              and a.lead_id between k.block << 10 and (k.block << 10) + 1023
            union all
            select a.lead_id from mailgenius.lead_activities a
            where k.facet in ('opened_on', 'clicked_on') and a.workspace_id = k.workspace_id
              and mailgenius.bitmap_day(a.created_at) = k.value
              and a.kind = case k.facet when 'opened_on' then 'open' else 'click' end
              and a.lead_id between k.block << 10 and (k.block << 10) + 1023
        ) e
    ) made
    where made.bits is not null;
end
$$;

-- Sends or activities that went. Those of leads that went too need nothing: nobody asks for their bits, and no other lead
-- gets their number.
create function mailgenius.unindex_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    keys mailgenius.event_bitmaps[];
begin
    if tg_argv[0] = 'sends' then
        select array_agg((k.workspace_id, k.facet, k.value, k.block, 0, 0::bit(1024))::mailgenius.event_bitmaps)
        into keys
        from (
            select distinct g.workspace_id, v.facet, v.value, g.lead_id >> 10 as block
            from gone g
            cross join lateral (
                values ('sent', g.campaign_id), ('sent_on', mailgenius.bitmap_day(g.created_at))
            ) v (facet, value)
            where exists (select from mailgenius.leads l where l.workspace_id = g.workspace_id and l.id = g.lead_id)
        ) k;
    else
        select array_agg((k.workspace_id, k.facet, k.value, k.block, 0, 0::bit(1024))::mailgenius.event_bitmaps)
        into keys
        from (
            select distinct g.workspace_id, v.facet, v.value, g.lead_id >> 10 as block
            from (select *, case kind when 'open' then 'opened' else 'clicked' end as facet
                  from gone where kind in ('open', 'click')) g
            cross join lateral (
                values (g.facet, g.campaign_id), (g.facet || '_on', mailgenius.bitmap_day(g.created_at))
            ) v (facet, value)
            where v.value is not null
              and exists (select from mailgenius.leads l where l.workspace_id = g.workspace_id and l.id = g.lead_id)
        ) k;
    end if;
    if keys is not null then
        perform mailgenius.remake_event_blocks(keys);
    end if;
    return null;
end
$$;

-- Updates that changed whose event it was, of which campaign or when: rare, but an update of the status of all sends looks
-- for them too, with one join that finds each row its like.
create function mailgenius.move_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    keys mailgenius.event_bitmaps[];
begin
    if tg_argv[0] = 'sends' then
        select array_agg((k.workspace_id, k.facet, k.value, k.block, 0, 0::bit(1024))::mailgenius.event_bitmaps)
        into keys
        from (
            select distinct r.workspace_id, v.facet, v.value, r.lead_id >> 10 as block
            from gone g
            full join added a on a.workspace_id = g.workspace_id and a.id = g.id and a.lead_id = g.lead_id
                and a.campaign_id = g.campaign_id and a.created_at = g.created_at
            cross join lateral (values (coalesce(g.workspace_id, a.workspace_id), coalesce(g.lead_id, a.lead_id),
                                        coalesce(g.campaign_id, a.campaign_id), coalesce(g.created_at, a.created_at))
            ) r (workspace_id, lead_id, campaign_id, created_at)
            cross join lateral (
                values ('sent', r.campaign_id), ('sent_on', mailgenius.bitmap_day(r.created_at))
            ) v (facet, value)
            where g.id is null or a.id is null
        ) k;
    else
        select array_agg((k.workspace_id, k.facet, k.value, k.block, 0, 0::bit(1024))::mailgenius.event_bitmaps)
        into keys
        from (
            select distinct r.workspace_id, v.facet, v.value, r.lead_id >> 10 as block
            from gone g
            full join added a on a.workspace_id = g.workspace_id and a.id = g.id and a.lead_id = g.lead_id
                and coalesce(a.campaign_id, 0) = coalesce(g.campaign_id, 0) and a.created_at = g.created_at
                and a.kind = g.kind
            cross join lateral (values (coalesce(g.workspace_id, a.workspace_id), coalesce(g.lead_id, a.lead_id),
                                        case when g.id is null then a.campaign_id else g.campaign_id end,
                                        coalesce(g.created_at, a.created_at), coalesce(g.kind, a.kind))
            ) r (workspace_id, lead_id, campaign_id, created_at, kind)
            cross join lateral (
                values (case r.kind when 'open' then 'opened' else 'clicked' end, r.campaign_id),
                       (case r.kind when 'open' then 'opened_on' else 'clicked_on' end,
                        mailgenius.bitmap_day(r.created_at))
            ) v (facet, value)
            where (g.id is null or a.id is null) and r.kind in ('open', 'click') and v.value is not null
        ) k;
    end if;
    if keys is not null then
        perform mailgenius.remake_event_blocks(keys);
    end if;
    return null;
end
$$;

create function mailgenius.forget_events() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from mailgenius.event_bitmaps where (facet in ('sent', 'sent_on')) = (tg_argv[0] = 'sends');
    return null;
end
$$;

-- Everything anew, while writers wait and readers do not: after rows were loaded with triggers disabled, or straight into or
-- out of a partition, or a partition was dropped.
create function mailgenius.rebuild_event_bitmaps() returns void
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuild_event_bitmaps: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.email_sends, mailgenius.lead_activities in share row exclusive mode;
    lock table mailgenius.event_bitmaps in share row exclusive mode;
    delete from mailgenius.event_bitmaps;
    insert into mailgenius.event_bitmaps (workspace_id, facet, value, block, bits)
    select workspace_id, facet, value, lead_id >> 10, bit_or(set_bit(0::bit(1024), (lead_id & 1023)::integer, 1))
    from (
        select workspace_id, lead_id, v.facet, v.value
        from mailgenius.email_sends
        cross join lateral (
            values ('sent', campaign_id), ('sent_on', mailgenius.bitmap_day(created_at))
        ) v (facet, value)
        union all
        select workspace_id, lead_id, v.facet, v.value
        from mailgenius.lead_activities
        cross join lateral (
            values (case kind when 'open' then 'opened' else 'clicked' end, campaign_id),
                   (case kind when 'open' then 'opened_on' else 'clicked_on' end, mailgenius.bitmap_day(created_at))
        ) v (facet, value)
        where kind in ('open', 'click') and v.value is not null
    ) one
    group by workspace_id, facet, value, lead_id >> 10;
end
$$;

select mailgenius.rebuild_event_bitmaps(); -- its locks stay until the triggers are there too

create trigger index_inserted after insert on mailgenius.email_sends
    referencing new table as added
    for each statement execute function mailgenius.index_events('sends');
create trigger index_deleted after delete on mailgenius.email_sends
    referencing old table as gone
    for each statement execute function mailgenius.unindex_events('sends');
create trigger index_moved after update on mailgenius.email_sends
    referencing old table as gone new table as added
    for each statement execute function mailgenius.move_events('sends');
create trigger index_truncated after truncate on mailgenius.email_sends
    for each statement execute function mailgenius.forget_events('sends');

create trigger index_inserted after insert on mailgenius.lead_activities
    referencing new table as added
    for each statement execute function mailgenius.index_events('activities');
create trigger index_deleted after delete on mailgenius.lead_activities
    referencing old table as gone
    for each statement execute function mailgenius.unindex_events('activities');
create trigger index_moved after update on mailgenius.lead_activities
    referencing old table as gone new table as added
    for each statement execute function mailgenius.move_events('activities');
create trigger index_truncated after truncate on mailgenius.lead_activities
    for each statement execute function mailgenius.forget_events('activities');
