-- Moves a lane's checkpoint in the transaction that stored the chunk. No row: another process moved it (ImportBusy).
update mailgenius.import_lanes
set done_key = %(done_key)s,
    inserted = inserted + %(inserted)s, updated = updated + %(updated)s, existing = existing + %(existing)s,
    duplicates = duplicates + %(duplicates)s, suppressed = suppressed + %(suppressed)s
where workspace_id = %(workspace)s::int4 and import_id = %(import_id)s::int8 and lane = %(lane)s::int4
  and done_key is not distinct from %(expected)s collate "C"
