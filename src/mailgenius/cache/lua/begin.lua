-- A writer begins: until he ends (or his time is over), nothing is stored at the name and reads miss. The mark is
-- "\193W", "1" if writers overlapped, and 12 bytes of a token and 14 digits of its end (ms since 1970) for each.
-- KEYS: name. ARGV: token, milliseconds the write may take.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local there = redis.call('GET', KEYS[1])
local overlap, others = '0', ''
if there and there:sub(1, 2) == '\193W' then
    overlap = '1'
    for at = 4, #there, 26 do
        if tonumber(there:sub(at + 12, at + 25)) > now then others = others .. there:sub(at, at + 25) end
    end
end
local mine = ARGV[1] .. string.format('%014d', now + ARGV[2])
redis.call('SET', KEYS[1], '\193W' .. overlap .. others .. mine, 'PX', ARGV[2])
return 1
