-- Adds to a number that is there, and leaves its life as it is.
-- KEYS: name. ARGV: what to add. The sum; nothing: there is none.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return redis.call('INCRBY', KEYS[1], ARGV[1])
