-- Is anything of this workspace within the chunk's range of keys? Also lifts the statement timeout for this transaction:
-- a COPY is bounded by its chunk, not by the clock of web requests.
select exists (
           select from mailgenius.leads
           where workspace_id = %(workspace)s::int4 and email >= %(lo)s collate "C" and email <= %(hi)s collate "C"
       ) as leads,
       exists (
           select from mailgenius.suppressions
           where workspace_id = %(workspace)s::int4 and email >= %(lo)s collate "C" and email <= %(hi)s collate "C"
       ) as suppressions,
       set_config('statement_timeout', '0', true)
