-- Takes tags from the leads of a segment that have one of them. Index: one on tags.
update mailgenius.leads l
set tags = array(select tag from unnest(l.tags) with ordinality as had (tag, place)
                 where tag <> all (%(tags)s::text[]) order by place),
    updated_at = now()
where l.workspace_id = %(workspace)s::int4 and {segment} and l.tags && %(tags)s::text[]
