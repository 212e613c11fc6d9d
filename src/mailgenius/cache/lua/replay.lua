-- Stores a value that was kept while the server could not be reached, unless something has happened to the name since.
-- KEYS: name. ARGV: value, milliseconds it lives. 1: stored.
local there = redis.call('GETRANGE', KEYS[1], 0, 15)
if there ~= '' and redis.call('PTTL', KEYS[1]) == -1 then return 0 end -- it waits for the database (write_behind)
if there:sub(1, 2) == '\193\1' then
    if there:sub(9, 16):reverse() >= ARGV[1]:sub(9, 16):reverse() then return 0 end
elseif there ~= '' then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
