-- Changes the leads of a segment where they differ from what is wanted. Index: the segment's.
update mailgenius.leads l
set {changes}, updated_at = now()
where l.workspace_id = %(workspace)s::int4 and {segment} and ({differs})
