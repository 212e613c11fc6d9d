-- Takes addresses off the suppression list; erased ones, which are there as hashes, only where that is said. Index: primary key.
delete from mailgenius.suppressions s
where s.workspace_id = %(workspace)s::int4
  and (s.email = any (%(emails)s::text[]) and (s.reason <> 'erased' or %(erased)s::bool)
       or %(erased)s::bool and s.email = any (array(
           select 'sha256:' || encode(sha256(convert_to(given, 'UTF8')), 'hex') from unnest(%(emails)s::text[]) as given)))
