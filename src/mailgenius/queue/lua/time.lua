-- Shared: the time, in milliseconds, by the server's clock. ARGV[1]: another time in its place, for tests; else empty.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
