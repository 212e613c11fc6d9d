-- Adds tags to the leads of a segment that lack one of them.
update mailgenius.leads l
set tags = l.tags || array(select tag from unnest(%(tags)s::text[]) as tag where tag <> all (l.tags)), updated_at = now()
where l.workspace_id = %(workspace)s::int4 and {segment} and not l.tags @> %(tags)s::text[]
