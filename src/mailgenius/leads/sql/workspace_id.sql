-- A workspace's number by its name. Index: unique slug.
select id from mailgenius.workspaces where slug = %(slug)s::text
