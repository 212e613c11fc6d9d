-- The before-images have served.
delete from mailgenius.import_changes
where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8
