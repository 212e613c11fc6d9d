-- Shared: the time, in milliseconds, by the server's clock. ARGV[1]: another time in its place, for tests; else empty. Needs lanes.lua.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Something will be due then: until the earliest such time nobody needs to look.
local function soon(at)
  local next = redis.call('HGET', P .. 'q', 'next')
  if not next or at < tonumber(next) then redis.call('HSET', P .. 'q', 'next', string.format('%.0f', at)) end
end
