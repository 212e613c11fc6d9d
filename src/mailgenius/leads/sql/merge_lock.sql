-- The leads of a merge that are there, locked in the order of their numbers, as every merge does. Index: primary key.
select l.id from mailgenius.leads l
where l.workspace_id = %(workspace)s::int4 and l.id = any (%(ids)s::int8[])
order by l.id
for update
