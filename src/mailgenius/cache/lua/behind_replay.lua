-- Puts dead letters back onto the stream, as writes of now, unless the value was written since.
-- KEYS  1 stream   2 hash of pending names   3 hash of dead letters   4 count of writes   5.. names of the values
-- ARGV  two for each name: what the flusher needs to know; the value
-- Gives how many were put back.
local done = 0
for i = 5, #KEYS do
  local at = 2 * (i - 4) - 1
  local name = KEYS[i]
  if redis.call('HDEL', KEYS[3], name) == 1 and redis.call('HEXISTS', KEYS[2], name) == 0 then
    local id = redis.call('XADD', KEYS[1], '*', redis.call('INCR', KEYS[4]) - 1, name)
    redis.call('SET', name, ARGV[at + 1])
    redis.call('HSET', KEYS[2], name, id .. ' ' .. ARGV[at])
    done = done + 1
  end
end
return done
