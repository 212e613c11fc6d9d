-- Makes a workspace unless another session did; no row comes back then.
insert into mailgenius.workspaces (slug) values (%(slug)s::text) on conflict (slug) do nothing returning id
