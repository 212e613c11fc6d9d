-- The imports of a workspace (null: of all), or one of them, newest first.
select i.id, i.workspace_id, w.slug, i.source, i.options::text, i.state, i.digest, i.started_at, i.error, i.counts::text
from mailgenius.imports i
join mailgenius.workspaces w on w.id = i.workspace_id
where (%(id)s::int8 is null or i.id = %(id)s::int8) and (%(slug)s::text is null or w.slug = %(slug)s::text)
order by i.id desc
