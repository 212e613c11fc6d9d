-- Deletes a value or a lease. Where writers are at work, their mark stays, and none of them may store what he wrote.
-- KEYS: name. 1: there was a value.
local mark = redis.call('GETRANGE', KEYS[1], 0, 1)
if mark == '\193W' then
    redis.call('SETRANGE', KEYS[1], 2, '1')
    return 0
end
redis.call('DEL', KEYS[1])
return (mark == '' or mark == '\193L') and 0 or 1
