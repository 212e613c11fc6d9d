-- Deletes a value or a lease. Where writers are at work, their mark stays, and none of them may store what he wrote. A value
-- without an end is one that the database does not have yet (write_behind), so it stays: a loader would find an older one.
-- KEYS: name. ARGV: something, if there may be such values. 1: a value is gone.
local mark = redis.call('GETRANGE', KEYS[1], 0, 1)
if mark == '\193W' then
    redis.call('SETRANGE', KEYS[1], 2, '1')
    return 0
end
if ARGV[1] and mark == '\193\1' and redis.call('PTTL', KEYS[1]) == -1 then return 0 end
redis.call('DEL', KEYS[1])
return (mark == '' or mark == '\193L') and 0 or 1
