-- Attributes in the bitmap indexes: those that an application names, of all workspaces. docs/design/bitmaps.md.
--
-- Of a lead that has the attribute, and not null, lead_bitmaps has, under facet attribute_facet(name):
--   value '': that it is there
--         attribute_key(its value): that it is this. Numbers that are equal have one key, texts are in the order of their
--             bytes behind a '"', and of objects and lists it is known that they are there.
-- They are kept as everything in lead_bitmaps is: appended by the statement that writes the lead, a block is the XOR of its rows.
--
-- The names stand in the arguments of the triggers as well, and writers read only those: a transaction with an old snapshot
-- would not see a row of lead_attributes, but it sees the triggers of today. Where no attribute is named there are no triggers.

create table mailgenius.lead_attributes (
    name  text collate "C" primary key
);

create function mailgenius.attribute_facet(name text) returns text language sql immutable parallel safe
return 'attribute:' || mailgenius.bitmap_key(name);

create function mailgenius.attribute_key(value jsonb) returns text language sql immutable parallel safe
return case jsonb_typeof(value)
    when 'string' then mailgenius.bitmap_key('"' || (value #>> '{}'))
    when 'number' then mailgenius.bitmap_key(trim_scale(value::numeric)::text)
    when 'boolean' then value::text
    when 'object' then '{'
    when 'array' then '['
end;

-- The values that an attribute has, or had, in a workspace: one look at the primary key for each.
create function mailgenius.attribute_values(workspace integer, facet text) returns setof text
language sql stable parallel safe
begin atomic
    with recursive found (value) as (
        select min(b.value) from mailgenius.lead_bitmaps b
        where b.workspace_id = workspace and b.facet = attribute_values.facet
        union all
        select (
            select min(b.value) from mailgenius.lead_bitmaps b
            where b.workspace_id = workspace and b.facet = attribute_values.facet and b.value > f.value
        )
        from found f
        where f.value is not null
    )
    select f.value from found f where f.value is not null;
end;

-- Rows that came or went.
create function mailgenius.index_attributes() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
    with found as materialized (
        select workspace_id, name, value, id >> 10 as block, bit_or(set_bit(0::bit(1024), (id & 1023)::integer, 1)) as bits
        from (
            select c.workspace_id, c.id, n.name, c.attributes -> n.name as value
            from changed c cross join unnest(tg_argv) n (name)
        ) one
        where value is not null
        group by workspace_id, name, value, id >> 10
    ), kept as (
        select workspace_id, mailgenius.attribute_facet(name) as facet, mailgenius.attribute_key(value) as value, block,
               bit_or(bits) as bits
        from found
        where value <> 'null'
        group by 1, 2, 3, 4
    )
    select workspace_id, facet, value, block, bits from kept
    union all
    select workspace_id, facet, '', block, bit_or(bits) from kept group by workspace_id, facet, block;
    return null; -- index_leads folds
end
$$;

-- Rows that changed: what they had and what they have now flips, where it is not the same.
create function mailgenius.reindex_attributes() returns trigger
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
               a.attributes, g.attributes as old_attributes
        from added a full join gone g on g.workspace_id = a.workspace_id and g.id = a.id
        where a.attributes is distinct from g.attributes
    ), flips as (
        select b.workspace_id, b.id, n.name, v.value
        from both_sides b
        cross join unnest(tg_argv) n (name)
        cross join lateral (values (b.attributes -> n.name), (b.old_attributes -> n.name)) v (value)
        where b.attributes -> n.name is distinct from b.old_attributes -> n.name
          and v.value is not null and v.value <> 'null'
    )
    select workspace_id, facet, value, id >> 10, bit_xor(set_bit(0::bit(1024), (id & 1023)::integer, 1))
    from (
        select workspace_id, id, mailgenius.attribute_facet(name) as facet, k.value
        from flips cross join lateral (values (''), (mailgenius.attribute_key(flips.value))) k (value)
    ) one
    group by workspace_id, facet, value, id >> 10
    having bit_xor(set_bit(0::bit(1024), (id & 1023)::integer, 1)) <> 0::bit(1024);
    get diagnostics appended = row_count;

    if appended > 0 and random() < 1.0 / 64 + appended / 20000.0
        and current_setting('transaction_isolation') = 'read committed'
    then
        perform mailgenius.fold_lead_bitmaps(w.workspace_id, w.low, w.high)
        from (select workspace_id, min(id) >> 10 as low, max(id) >> 10 as high from added group by workspace_id) w;
    end if;
    return null;
end
$$;

-- The bits of attributes from the leads. Its callers hold the locks.
create function mailgenius.build_attributes(names text[]) returns void
language sql
begin atomic
    insert into mailgenius.lead_bitmaps (workspace_id, facet, value, block, bits)
    with kept as materialized (
        select workspace_id, mailgenius.attribute_facet(name) as facet, mailgenius.attribute_key(value) as value, block,
               bit_or(bits) as bits
        from (
            select l.workspace_id, n.name, l.attributes -> n.name as value, l.id >> 10 as block,
                   bit_or(set_bit(0::bit(1024), (l.id & 1023)::integer, 1)) as bits
            from mailgenius.leads l cross join unnest(names) n (name)
            group by 1, 2, 3, 4
        ) found
        where value <> 'null'
        group by 1, 2, 3, 4
    )
    select workspace_id, facet, value, block, bits from kept
    union all
    select workspace_id, facet, '', block, bit_or(bits) from kept group by workspace_id, facet, block;
end;

-- Makes the triggers say what lead_attributes says. Without a name they are disabled: to drop them, readers would have to wait.
create function mailgenius.name_attributes() returns void
language plpgsql
as $$
declare
    names text;
begin
    select coalesce(string_agg(quote_literal(name), ', ' order by name), '') into names from mailgenius.lead_attributes;
    execute format('create or replace trigger attributes_inserted after insert on mailgenius.leads
                    referencing new table as changed for each statement
                    execute function mailgenius.index_attributes(%s)', names);
    execute format('create or replace trigger attributes_deleted after delete on mailgenius.leads
                    referencing old table as changed for each statement
                    execute function mailgenius.index_attributes(%s)', names);
    execute format('create or replace trigger attributes_updated after update on mailgenius.leads
                    referencing old table as gone new table as added for each statement
                    execute function mailgenius.reindex_attributes(%s)', names);
    if names = '' then
        alter table mailgenius.leads disable trigger attributes_inserted, disable trigger attributes_deleted,
            disable trigger attributes_updated;
    end if;
end
$$;

-- Writers of leads wait, readers do not; they see the bits and the name at once. Those named before, and only those, are nothing
-- to wait for, whoever asks. The names that are new.
create function mailgenius.index_lead_attributes(names text[]) returns text[]
language plpgsql
as $$
declare
    fresh text[];
begin
    if names <@ array(select name::text from mailgenius.lead_attributes) then
        return '{}';
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'index_lead_attributes: needs READ COMMITTED, to see what was committed while it waited for its locks'
            using errcode = 'invalid_transaction_state';
    end if;
    lock table mailgenius.leads in share row exclusive mode;
    lock table mailgenius.lead_bitmaps in share row exclusive mode;
    with made as (
        insert into mailgenius.lead_attributes (name) select unnest(names) on conflict do nothing returning name
    )
    select coalesce(array_agg(name::text order by name), '{}') into fresh from made;
    if fresh <> '{}' then
        perform mailgenius.name_attributes();
        perform mailgenius.build_attributes(fresh);
    end if;
    return fresh;
end
$$;

-- The names that were there.
create function mailgenius.unindex_lead_attributes(names text[]) returns text[]
language plpgsql
as $$
declare
    old text[];
begin
    if not exists (select from mailgenius.lead_attributes where name = any (names)) then
        return '{}';
    end if;
    lock table mailgenius.leads in share row exclusive mode;
    lock table mailgenius.lead_bitmaps in share row exclusive mode;
    with dropped as (delete from mailgenius.lead_attributes where name = any (names) returning name)
    select coalesce(array_agg(name::text order by name), '{}') into old from dropped;
    if old <> '{}' then
        perform mailgenius.name_attributes();
        delete from mailgenius.lead_bitmaps
        where facet = any (array(select mailgenius.attribute_facet(name) from unnest(old) name));
    end if;
    return old;
end
$$;

-- As in 0004, and the attributes: everything anew, while writers of leads wait and readers do not: after rows were loaded with triggers disabled.
create or replace function mailgenius.rebuild_lead_bitmaps() returns void
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
    perform mailgenius.build_attributes(array(select name::text from mailgenius.lead_attributes));
end
$$;
