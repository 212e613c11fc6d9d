--- include lanes time events frames dead
-- Forgets failed, delayed or done jobs, the oldest first, a bounded number at a time.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 failed | delayed: 3 only those that failed, or are due, before this time ('+inf': all)   4 at most
--       2 done: 3 how many   4 the record of the newest of these
-- Gives how many; -1 if done ones have come or gone, so that these are not the oldest any more.
if ARGV[2] == 'done' then
  local n = tonumber(ARGV[3])
  if call('LINDEX', P .. 'kept', -n) ~= ARGV[4] then return -1 end
  call('LTRIM', P .. 'kept', 0, -n - 1)
  return n
end
local key = ARGV[2] == 'failed' and 'dead' or 'delayed'
local ids = call('ZRANGEBYSCORE', P .. key, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
if key == 'dead' then
  forget_dead(ids)
  return #ids
end
for _, id in ipairs(ids) do
  local record = call('HGET', P .. 'jobs', id)
  call('ZREM', P .. key, id)
  call('HDEL', P .. 'jobs', id)
  call('HDEL', P .. 'progress', id)
  release(id)
  child_ended(id, true)
  if record then call('HINCRBY', P .. 'names', 'r' .. frame_name(string.match(record, '\n(.*)$')), 1) end
end
if ids[1] then tell('removed', table.concat(ids, ' ')) end
return #ids
