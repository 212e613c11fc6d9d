-- Stores a value if what stands at its name still begins with what the loader saw there: a lease, or an older value.
-- KEYS: name. ARGV: what was seen, value, milliseconds it lives. 1: stored; 2: it waits for the
-- database (write_behind: a value without an end), and stays as it is.
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if ARGV[1]:sub(1, 2) == '\193\1' and redis.call('PTTL', KEYS[1]) == -1 then return 2 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
