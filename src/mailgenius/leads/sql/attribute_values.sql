-- For each of these attributes, the workspace where leads have the most different values of it, and how many. Reads all leads.
select distinct on (v.name) v.name, w.slug, v.n
from (
    select name, workspace_id, count(distinct mailgenius.attribute_key(value)) as n
    from (
        -- a key is made of each value, not of each lead
        select distinct n.name, l.workspace_id, l.attributes -> n.name as value
        from mailgenius.leads l cross join unnest(%(names)s::text[]) n (name)
    ) one
    group by name, workspace_id
) v
join mailgenius.workspaces w on w.id = v.workspace_id
order by v.name, v.n desc
