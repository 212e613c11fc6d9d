-- Adds addresses to the suppression list; those already on it keep their reason and date. Index: primary key.
-- Sorted, so that two sessions with overlapping lists take their locks in one order and cannot deadlock.
insert into mailgenius.suppressions (workspace_id, email, reason)
select %(workspace)s::int4, given.email, %(reason)s::text
from (select distinct unnest(%(emails)s::text[]) collate "C" as email) given
order by given.email
on conflict (workspace_id, email) do nothing
