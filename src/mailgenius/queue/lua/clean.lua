--- include lanes time events frames dead
-- Forgets failed or delayed jobs, the oldest first, a bounded number at a time.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 failed | delayed   3 only those of before this time ('+inf': all)   4 at most
-- Gives how many.
local key = ARGV[2] == 'failed' and 'dead' or 'delayed'
local ids = call('ZRANGEBYSCORE', P .. key, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do
  local record = call('HGET', P .. 'jobs', id)
  call('ZREM', P .. key, id)
  call('HDEL', P .. 'jobs', id)
  call('HDEL', P .. 'errors', id)
  if key == 'delayed' then
    release(id)
    child_ended(id, true)
    if record then call('HINCRBY', P .. 'names', 'r' .. frame_name(string.match(record, '\n(.*)$')), 1) end
  end
end
return #ids
