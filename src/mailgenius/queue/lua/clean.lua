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
if not ids[1] then return 0 end
local records, names = call('HMGET', P .. 'jobs', unpack(ids)), {}
for _, record in ipairs(records) do
  local name = record and frame_name(string.match(record, '\n(.*)$'))
  if name then names[name] = (names[name] or 0) + 1 end
end
for name, n in pairs(names) do call('HINCRBY', P .. 'names', 'r' .. name, n) end
call('ZREM', P .. key, unpack(ids))
call('SREM', P .. 'cancelled', unpack(ids))
for _, each in ipairs({ 'jobs', 'progress', 'flow_failed' }) do call('HDEL', P .. each, unpack(ids)) end
local unique, parents = call('HMGET', P .. 'unique_of', unpack(ids)), call('HMGET', P .. 'parent_of', unpack(ids))
for i, id in ipairs(ids) do
  if unique[i] then release(id) end
  if parents[i] then child_ended(id, true) end
end
tell('removed', table.concat(ids, ' '))
return #ids
