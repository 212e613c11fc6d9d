-- The duplicates, with what an undo of an import would restore of them. Index: primary key.
with changes as (
    delete from mailgenius.import_changes c
    where c.workspace_id = %(workspace)s::int4 and c.lead_id = any (%(gone)s::int8[])
)
delete from mailgenius.leads l where l.workspace_id = %(workspace)s::int4 and l.id = any (%(gone)s::int8[])
