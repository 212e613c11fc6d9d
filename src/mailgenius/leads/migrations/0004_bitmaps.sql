-- Bitmap indexes: which leads have a property, one bit each, so that any combination of properties is counted in
-- milliseconds, exactly. They answer leads.count(segment) and the tags of leads.stats(); docs/design/bitmaps.md.
--
-- A bitmap is cut into blocks of 1,024 leads (lead id >> 10; bit id & 1023). Of a lead:
--   facet 'lead', value '': that it is there
--         'country', 'tag': that it has this country or tag (bitmap_key)
--         'status': that it has this status, which is not 'active', as nearly all have
--         'score' '0' to '6', 'score_high' '7' to '31': that this bit of its score is set (two's complement), so that a
--                  range of scores is some ands and ors of whole blocks (O'Neil and Quass, bit-sliced index, 1997)
-- Like the counters, they are kept by appending: a block is the XOR of its rows. A statement appends which bits it
-- flipped, in its own transaction, and never touches a row that is there, so writers do not wait for one another and
-- every snapshot sees of the bitmaps what it sees of the leads.

create table mailgenius.lead_bitmaps (
    workspace_id  integer not null,
    facet         text collate "C" not null,
    value         text collate "C" not null,
    block         bigint not null,
    id            bigint generated always as identity,
    bits          bit(1024) not null,
    primary key (workspace_id, facet, value, block, id)
)
with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, vacuum_truncate = false);

-- What was sent to whom, who opened and who clicked: by campaign ('sent', 'opened', 'clicked'; value: its number) and by
-- day ('sent_on' …; value: days since 2000-01-01, UTC). A lead can be sent the same campaign twice, so a block is the OR of
-- its rows; where sends or activities of a lead that stays are deleted, the block is made anew.
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

-- Leads by the domain of their address. One row for each statement, because an import of 25,000 leads meets thousands of
-- domains: ns[i] more leads have domains[i]. Rows of like size are folded (size: 8 ** size domains at most).
create table mailgenius.lead_domains (
    workspace_id  integer not null,
    id            bigint generated always as identity,
    size          smallint not null,
    domains       text[] collate "C" not null,
    ns            bigint[] not null,
    primary key (workspace_id, size, id)
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, vacuum_truncate = false);
alter table mailgenius.lead_domains alter column domains set storage external; -- compressing them costs more than they do

-- A value as lead_bitmaps has it: an index entry cannot be of any length.
create function mailgenius.bitmap_key(value text) returns text language sql immutable parallel safe
return case
    when octet_length(value) <= 200 and not starts_with(value, 'sha256:') then value
    else 'sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex')
end;

create function mailgenius.bitmap_day(moment timestamptz) returns bigint language sql immutable parallel safe
return case when isfinite(moment) then (moment at time zone 'UTC')::date - date '2000-01-01' else 0 end;

create function mailgenius.domains_size(n bigint) returns smallint language sql immutable parallel safe
return ceil(ln(greatest(n, 1)) / ln(8) - 1e-9)::smallint;

-- Merges rows of crowded blocks; the number of rows saved. Writers call it now and then for the blocks they wrote, calling it
-- for all of them does no harm. Needs READ COMMITTED. Rows that others are merging are left to them.
create function mailgenius.fold_lead_bitmaps(workspace integer, low bigint, high bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
begin
    with crowded as materialized (
        select facet, value, block from mailgenius.lead_bitmaps
        where workspace_id = workspace and block between low and high
        group by facet, value, block
        having count(*) > 4
        limit 10000
    ), taken as (
        delete from mailgenius.lead_bitmaps
        where ctid = any (array(
            select b.ctid from crowded c
            join mailgenius.lead_bitmaps b
                on b.workspace_id = workspace and b.facet = c.facet and b.value = c.value and b.block = c.block
            for update of b skip locked))
        returning facet, value, block, bits
    ), put as (
        insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
        select workspace, facet, value, block, bit_xor(bits) from taken
        group by facet, value, block
        having bit_count(bit_xor(bits)) > 0
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    return saved;
end
$$;

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

create function mailgenius.fold_lead_domains(workspace integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    saved bigint;
begin
    with crowded as materialized (
        select size from mailgenius.lead_domains where workspace_id = workspace group by size having count(*) > 8
    ), taken as (
        delete from mailgenius.lead_domains
        where ctid = any (array(
            select d.ctid from crowded c
            join mailgenius.lead_domains d on d.workspace_id = workspace and d.size = c.size
            limit 1000
            for update of d skip locked))
        returning domains, ns
    ), sums as (
        select one.domain, sum(one.n)::bigint as n
        from taken t cross join lateral unnest(t.domains, t.ns) as one (domain, n)
        group by one.domain
        having sum(one.n) <> 0
    ), put as (
        insert into mailgenius.lead_domains (workspace_id, size, domains, ns)
        select workspace, mailgenius.domains_size(count(*)), array_agg(domain), array_agg(n) from sums having count(*) > 0
        returning 1
    )
    select (select count(*) from taken) - (select count(*) from put) into saved;
    return saved;
end
$$;

-- Rows that came or went: all their bits flip, whichever it was. Words of 64 leads first, where every lead has a bit: an
-- aggregate of integers is cheaper than one of blocks. Scores are usually of 0 to 127: then seven slices do.
create function mailgenius.index_leads() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    appended bigint;
    more bigint;
    chunk record;
begin
    select min(score) as lowest, max(score) as highest, min(id) >> 10 as low, max(id) >> 10 as high,
           min(workspace_id) as workspace, max(workspace_id) as last_workspace
    into chunk from changed;
    if chunk.workspace is null then
        return null;
    end if;

    insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
    select workspace_id, 'country', mailgenius.bitmap_key(country), id >> 10,
           bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
    from changed where country is not null
    group by workspace_id, country, id >> 10
    union all
    select workspace_id, 'status', status, id >> 10, bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
    from changed where status <> 'active'
    group by workspace_id, status, id >> 10
    union all
    select workspace_id, 'tag', mailgenius.bitmap_key(tag), id >> 10,
           bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
    from (select workspace_id, id, unnest(tags) as tag from changed) one
    where tag is not null
    group by workspace_id, tag, id >> 10;
    get diagnostics appended = row_count;

    if chunk.lowest >= 0 and chunk.highest < 128 then
        insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
        select w.workspace_id, v.facet, v.value, w.word >> 4,
               bit_or(overlay(0::bit(1024) placing v.bits::bit(64) from ((w.word & 15) * 64)::integer + 1 for 64))
        from (
            select workspace_id, id >> 6 as word,
                   bit_or(one) as there,
                   bit_or(one * (score & 1)) as s0, bit_or(one * (score >> 1 & 1)) as s1,
                   bit_or(one * (score >> 2 & 1)) as s2, bit_or(one * (score >> 3 & 1)) as s3,
                   bit_or(one * (score >> 4 & 1)) as s4, bit_or(one * (score >> 5 & 1)) as s5,
                   bit_or(one * (score >> 6 & 1)) as s6
            from (select workspace_id, id, score, 1::bigint << (63 - (id & 63))::integer as one from changed) c
            group by workspace_id, id >> 6
        ) w
        cross join lateral (
            values ('lead', '', w.there), ('score', '0', w.s0), ('score', '1', w.s1), ('score', '2', w.s2),
                   ('score', '3', w.s3), ('score', '4', w.s4), ('score', '5', w.s5), ('score', '6', w.s6)
        ) v (facet, value, bits)
        where v.bits <> 0
        group by w.workspace_id, v.facet, v.value, w.word >> 4;
    else
        insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
        select workspace_id, 'lead', '', id >> 10, bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
        from changed
        group by workspace_id, id >> 10
        union all
        select workspace_id, case when slice < 7 then 'score' else 'score_high' end, slice::text, id >> 10,
               bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
        from changed, generate_series(0, 31) slice
        where score >> slice & 1 = 1
        group by workspace_id, slice, id >> 10;
    end if;
    get diagnostics more = row_count;
    appended := appended + more;

    insert into mailgenius.lead_domains (workspace_id, size, domains, ns)
    select workspace_id, mailgenius.domains_size(count(*)), array_agg(domain), array_agg(n)
    from (
        select workspace_id, split_part(email, '@', -1) as domain,
               case tg_op when 'DELETE' then -count(*) else count(*) end as n
        from changed group by 1, 2
    ) d
    group by workspace_id;

    -- As with the counters, a die decides who folds.
    if random() < 1.0 / 64 + appended / 20000.0 and current_setting('transaction_isolation') = 'read committed' then
        if chunk.workspace = chunk.last_workspace then
            perform mailgenius.fold_lead_bitmaps(chunk.workspace, chunk.low, chunk.high);
            perform mailgenius.fold_lead_domains(chunk.workspace);
        else
            perform mailgenius.fold_lead_bitmaps(w.workspace_id, chunk.low, chunk.high),
                    mailgenius.fold_lead_domains(w.workspace_id)
            from (select distinct workspace_id from changed) w;
        end if;
    end if;
    return null;
end
$$;

-- Rows that changed: what they had and what they have now flips, where it is not the same. A full join, because an update
-- may move a lead to another number or workspace.
create function mailgenius.reindex_leads() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    appended bigint;
begin
    insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
    with both_sides as materialized (
        select coalesce(a.workspace_id, g.workspace_id) as workspace_id, coalesce(a.id, g.id) as id,
               a.id is not null as is_there, g.id is not null as was_there,
               a.country, g.country as old_country, a.status, g.status as old_status, a.tags, g.tags as old_tags,
               coalesce(a.score, 0) # coalesce(g.score, 0) as score
        from added a full join gone g on g.workspace_id = a.workspace_id and g.id = a.id
        where a.country is distinct from g.country or a.status is distinct from g.status
            or a.tags is distinct from g.tags or a.score is distinct from g.score
    ), flips as (
        select workspace_id, id, 'lead' as facet, '' as value, true as now from both_sides where is_there <> was_there
        union all
        select workspace_id, id, 'country', country, true from both_sides
        where country is not null and country is distinct from old_country
        union all
        select workspace_id, id, 'country', old_country, true from both_sides
        where old_country is not null and country is distinct from old_country
        union all
        select workspace_id, id, 'status', status, true from both_sides
        where status <> 'active' and status is distinct from old_status
        union all
        select workspace_id, id, 'status', old_status, true from both_sides
        where old_status <> 'active' and status is distinct from old_status
        union all
        select workspace_id, id, case when slice < 7 then 'score' else 'score_high' end, slice::text, true
        from both_sides, generate_series(0, 31) slice
        where score <> 0 and score >> slice & 1 = 1
        union all
        select workspace_id, id, 'tag', unnest(tags), true from both_sides where tags is distinct from old_tags
        union all
        select workspace_id, id, 'tag', unnest(old_tags), false from both_sides where tags is distinct from old_tags
    )
    select workspace_id, facet, mailgenius.bitmap_key(value), block, bits
    from (
        select workspace_id, facet, value, id >> 10 as block,
               coalesce(bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1)) filter (where now), 0::bit(1024))
               # coalesce(bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1)) filter (where not now), 0::bit(1024))
               as bits
        from flips
        where value is not null
        group by workspace_id, facet, value, id >> 10
    ) sums
    where bits <> 0::bit(1024);
    get diagnostics appended = row_count;

    insert into mailgenius.lead_domains (workspace_id, size, domains, ns)
    select workspace_id, mailgenius.domains_size(count(*)), array_agg(domain), array_agg(n)
    from (
        select workspace_id, split_part(email, '@', -1) as domain, sum(one) as n
        from (select workspace_id, email, 1 as one from added union all select workspace_id, email, -1 from gone) b
        group by 1, 2
        having sum(one) <> 0
    ) d
    group by workspace_id;

    if appended > 0 and random() < 1.0 / 64 + appended / 20000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_lead_bitmaps(w.workspace_id, w.low, w.high), mailgenius.fold_lead_domains(w.workspace_id)
        from (select workspace_id, min(id) >> 10 as low, max(id) >> 10 as high from added group by workspace_id) w;
    end if;
    return null;
end
$$;

create function mailgenius.unindex_leads() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate mailgenius.lead_bitmaps, mailgenius.lead_domains;
    return null;
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
create function mailgenius.rebuild_bitmaps() returns void
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuild_bitmaps: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.leads, mailgenius.email_sends, mailgenius.lead_activities in share row exclusive mode;
    lock table mailgenius.lead_bitmaps, mailgenius.event_bitmaps, mailgenius.lead_domains in share row exclusive mode;
    delete from mailgenius.lead_bitmaps;
    delete from mailgenius.event_bitmaps;
    delete from mailgenius.lead_domains;
    insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
    select workspace_id, facet, mailgenius.bitmap_key(value), id >> 10,
           bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1))
    from (
        select workspace_id, id, 'lead' as facet, '' as value from mailgenius.leads
        union all
        select workspace_id, id, 'country', country from mailgenius.leads where country is not null
        union all
        select workspace_id, id, 'status', status from mailgenius.leads where status <> 'active'
        union all
        select workspace_id, id, 'tag', unnest(tags) from mailgenius.leads
        union all
        select workspace_id, id, case when slice < 7 then 'score' else 'score_high' end, slice::text
        from mailgenius.leads, generate_series(0, 31) slice
        where score >> slice & 1 = 1
    ) one
    where value is not null
    group by workspace_id, facet, value, id >> 10;
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
    insert into mailgenius.lead_domains (workspace_id, size, domains, ns)
    select workspace_id, mailgenius.domains_size(count(*)), array_agg(domain), array_agg(n)
    from (select workspace_id, split_part(email, '@', -1) as domain, count(*) as n from mailgenius.leads group by 1, 2) d
    group by workspace_id;
end
$$;

select mailgenius.rebuild_bitmaps(); -- its locks stay until the triggers are there too

create trigger index_inserted after insert on mailgenius.leads
    referencing new table as changed
    for each statement execute function mailgenius.index_leads();
create trigger index_deleted after delete on mailgenius.leads
    referencing old table as changed
    for each statement execute function mailgenius.index_leads();
create trigger index_updated after update on mailgenius.leads
    referencing old table as gone new table as added
    for each statement execute function mailgenius.reindex_leads();
create trigger index_truncated after truncate on mailgenius.leads
    for each statement execute function mailgenius.unindex_leads();

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
