--- include lanes time
-- Sets or ends a schedule. The same one again leaves alone when it is due.
-- KEYS  1 the queue; beside it: cron, cron_due
-- ARGV  1 time (tests)   2 its name   3 what it is ('': ends it)   4 when it is due first   5 most schedules
-- Gives 1 if that changed anything, -1 if there are too many.
local before = call('HGET', P .. 'cron', ARGV[2])
if ARGV[3] == '' then
  call('ZREM', P .. 'cron_due', ARGV[2])
  return call('HDEL', P .. 'cron', ARGV[2])
end
if before == ARGV[3] and call('ZSCORE', P .. 'cron_due', ARGV[2]) then return 0 end
if not before and call('HLEN', P .. 'cron') >= tonumber(ARGV[5]) then return -1 end
call('HSET', P .. 'cron', ARGV[2], ARGV[3])
call('ZADD', P .. 'cron_due', ARGV[4], ARGV[2])
soon(tonumber(ARGV[4]))
wake()
return 1
