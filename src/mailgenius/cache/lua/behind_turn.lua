-- Takes, keeps or gives back the lease of a region's flusher, and looks whether there is work.
-- KEYS  1 lease: a string with a time to live, the token of the active flusher
--       2 set once versions are known to be higher than the database's
--       3 stream of the region   4 string: set while somebody waits for a flush   5 count of writes
-- ARGV  1 the flusher's token   2 milliseconds that it is to have the lease from now; 0 gives it back
-- Gives {0} if another one has it, else {1; 1 if KEYS[2] is set; writes that wait; 1 if somebody waits}.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return {0} end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return {0}
end
if held then
  redis.call('PEXPIRE', KEYS[1], ARGV[2]) -- unlike SET, this is allowed when the memory is full
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
local waiting = oldest and math.max(1, (redis.call('GET', KEYS[5]) or 0) - oldest[2][1]) or 0
return {1, redis.call('EXISTS', KEYS[2]), waiting, redis.call('DEL', KEYS[4])}
