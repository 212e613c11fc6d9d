-- Removes what the import inserted, unless the lead was changed since.
delete from mailgenius.leads
where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8
  and (%(force)s or updated_at = %(stamp)s)
