-- Stores a value unless one of the same or a newer version is there, or writers are at work.
-- KEYS: name. ARGV: value, milliseconds it lives, version (8 bytes, big-endian). 1: stored.
local there = redis.call('GETRANGE', KEYS[1], 0, 31)
if there:sub(1, 2) == '\193W' then
    redis.call('SETRANGE', KEYS[1], 2, '1')
    return 0
end
if there:sub(1, 2) == '\193\1' and there:sub(25, 32):reverse() >= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
