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

-- Everything anew, while writers of leads wait and readers do not: after rows were loaded with triggers disabled.
create function mailgenius.rebuild_lead_bitmaps() returns void
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rebuild_lead_bitmaps: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.leads in share row exclusive mode;
    lock table mailgenius.lead_bitmaps, mailgenius.lead_domains in share row exclusive mode;
    delete from mailgenius.lead_bitmaps;
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
    insert into mailgenius.lead_domains (workspace_id, size, domains, ns)
    select workspace_id, mailgenius.domains_size(count(*)), array_agg(domain), array_agg(n)
    from (select workspace_id, split_part(email, '@', -1) as domain, count(*) as n from mailgenius.leads group by 1, 2) d
    group by workspace_id;
end
$$;

select mailgenius.rebuild_lead_bitmaps(); -- its locks stay until the triggers are there too

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
