-- From here on the import can no longer be resumed. No row: somebody else is undoing it. Removing its lanes makes a
-- process that is still loading stop at its next checkpoint (ImportBusy).
with lanes as (
    delete from mailgenius.import_lanes
    where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8
)
update mailgenius.imports
set state = 'undone', updated_at = now()
where workspace_id = %(workspace)s::int4 and id = %(import_id)s::int8 and state <> 'undone'
  and set_config('statement_timeout', '0', true) is not null
