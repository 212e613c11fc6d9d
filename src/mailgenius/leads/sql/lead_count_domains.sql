-- How many leads of a workspace have an address at one of these domains: kept. Index: primary key of lead_domains.
select coalesce(sum(one.n), 0)::int8
from mailgenius.lead_domains d, unnest(d.domains, d.ns) as one (domain, n)
where d.workspace_id = %(workspace)s::int4 and one.domain = any (%(domains)s::text[])
