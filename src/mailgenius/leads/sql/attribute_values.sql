-- For each of these attributes, the workspace where leads have the most different values of it, and how many. Reads all leads.
select distinct on (v.name) v.name, w.slug, v.n
from (
    select name, workspace_id, count(*) as n
    from (
        select distinct n.name, l.workspace_id, mailgenius.attribute_key(l.attributes -> n.name) as value
        from mailgenius.leads l cross join unnest(%(names)s::text[]) n (name)
    ) one
    where value is not null
    group by name, workspace_id
) v
join mailgenius.workspaces w on w.id = v.workspace_id
order by v.name, v.n desc
