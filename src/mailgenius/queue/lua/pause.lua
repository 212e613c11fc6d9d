--- include lanes time
-- Stops or starts a queue, or a group of it. What is being worked on goes on.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 pause | resume   3 its group ('': the queue)
-- Gives 1 if that changed anything.
local changed
if ARGV[3] == '' then
  if ARGV[2] == 'pause' then
    changed = call('HSETNX', P .. 'q', 'paused', text(now))
  else
    changed = call('HDEL', P .. 'q', 'paused')
  end
elseif ARGV[2] == 'pause' then
  changed = call('SADD', P .. 'paused', ARGV[3])
else
  changed = call('SREM', P .. 'paused', ARGV[3])
  -- Its lanes, of whatever priority, may have been held back.
  for _, priority in ipairs({ '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A' }) do
    local number = call('HGET', P .. 'lanes', '#' .. priority .. ':' .. ARGV[3])
    if number and call('ZREM', P .. 'held', number) == 1 then ring_add(priority, number) end
  end
end
if ARGV[2] == 'resume' then wake() end
return changed
