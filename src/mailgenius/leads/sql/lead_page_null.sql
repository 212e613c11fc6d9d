-- A page that may go on from leads with a value to those without one, or back. Two arms, because a condition for both could
-- not be a range of an index on the column and id.
select l.workspace_id, l.id, l.email, l.first_name, l.last_name, l.phone, l.company, l.city, l.country, l.tags, l.attributes,
       l.status, l.score, l.created_at, l.updated_at, l.import_id
from (
    (select 0 as part, l.*
     from mailgenius.leads l
     where l.workspace_id = %(workspace)s::int4 and {segment} and {reach}
     order by {order}
     limit %(limit)s::int4)
    union all
    (select 1 as part, l.*
     from mailgenius.leads l
     where l.workspace_id = %(workspace)s::int4 and {segment} and {reach_on}
     order by {order}
     limit %(limit)s::int4)
) l
order by l.part, {order}
limit %(limit)s::int4
