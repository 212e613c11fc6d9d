--- include lanes time events frames
-- Lets a cron job run once for a time at which it was due, whoever sees it first.
-- KEYS  1 the queue; beside it: cron, cron_due, and those that adding a job needs
-- ARGV  1 time (tests)   2 its name   3 when it was due   4 when it is due next ('': never)   5 lane ('': it is not let in,
--       only put off)   6 name of the job   7 the job
-- Gives its id, or false if another one has seen it.
local due = call('ZSCORE', P .. 'cron_due', ARGV[2])
if not due or text(tonumber(due)) ~= ARGV[3] or tonumber(due) > now then return false end
if ARGV[4] == '' then
  call('ZREM', P .. 'cron_due', ARGV[2])
else
  call('ZADD', P .. 'cron_due', ARGV[4], ARGV[2])
  soon(tonumber(ARGV[4]))
end
if ARGV[5] == '' then return false end
local id = '0-' .. text(call('HINCRBY', P .. 'q', 'id', 1))
push_one(ARGV[5], id, with_id(ARGV[7], id))
call('HINCRBY', P .. 'names', 'a' .. ARGV[6], 1)
wake()
return id
