-- Is anything of this workspace within the chunk's range of keys? Three cheap looks that save the probes of a fresh table.
-- Settings for this transaction only: a COPY is bounded by its chunk, not by the clock of web requests; and what is to be
-- updated is looked up in the index (the planner, seeing half the table in range, would scan and merge it in parallel:
-- measured 2x slower for 50,000 keys onto 2,000,000 leads, and it takes the cores of everybody else). And the commit does
-- not wait for the disk: load.py makes everything durable at the end, and looks what a crash has taken before that.
select exists (
           select from mailgenius.leads
           where workspace_id = %(workspace)s::int4 and email >= %(lo)s collate "C" and email <= %(hi)s collate "C"
       ) as leads,
       exists (
           select from mailgenius.suppressions
           where workspace_id = %(workspace)s::int4 and email >= %(lo)s collate "C" and email <= %(hi)s collate "C"
       ) as suppressions,
       exists (
           select from mailgenius.suppressions
           where workspace_id = %(workspace)s::int4 and email >= 'sha256:' collate "C" and email < 'sha256;' collate "C"
       ) as erased,
       set_config('statement_timeout', '0', true), set_config('jit', 'off', true),
       set_config('synchronous_commit', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
