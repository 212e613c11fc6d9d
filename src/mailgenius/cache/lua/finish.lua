-- A writer ends. What he wrote is stored if he was alone since he began; else nothing is, unless a newer version is there.
-- KEYS: name. ARGV: token, value or nothing, milliseconds it lives, version (8 bytes, big-endian) or nothing. 1: stored.
local there = redis.call('GET', KEYS[1])
if not there then return 0 end
if there:sub(1, 2) ~= '\193W' then
    local newer = ARGV[4] ~= '' and there:sub(1, 2) == '\193\1' and there:sub(25, 32):reverse() >= ARGV[4]
    if not newer then redis.call('DEL', KEYS[1]) end
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others, mine = '', false
for at = 4, #there, 26 do
    if there:sub(at, at + 11) == ARGV[1] then
        mine = true
    elseif tonumber(there:sub(at + 12, at + 25)) > now then
        others = others .. there:sub(at, at + 25)
    end
end
if others ~= '' then
    redis.call('SET', KEYS[1], '\193W1' .. others, 'KEEPTTL')
elseif mine and there:sub(3, 3) == '0' and ARGV[2] ~= '' then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1
else
    redis.call('DEL', KEYS[1])
end
return 0
