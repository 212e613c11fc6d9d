-- Lets a lock or a lease go, if it is still this one.
-- KEYS: name. ARGV: what it holds. 1: it was.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
