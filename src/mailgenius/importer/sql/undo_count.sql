-- How many leads the import updated, and how many it inserted, that are still there.
select (select count(*) from mailgenius.import_changes
        where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8),
       (select count(*) from mailgenius.leads
        where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8)
