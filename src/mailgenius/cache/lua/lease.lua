-- Leaves a lease where nothing is, so that the loader can prove later that nothing has happened to the name since.
-- KEYS: name. ARGV: lease, milliseconds it lives. Nothing: it is there now; else what is there.
local there = redis.call('GET', KEYS[1])
if there then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
