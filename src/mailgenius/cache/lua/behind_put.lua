-- Accepts one write: onto the region's stream and into the cache, both or neither.
-- KEYS  1 stream of the region: an entry for each write that is not known to be in the database
--       2 hash: name of a value -> id of its latest entry, for as long as that is pending
--       3 string with a time to live: the lowest epoch of this producer that is still taken (missing: any)
--       4 the name of the cached value
-- ARGV  1 most entries of the stream   2 epoch of the producer   3 what the flusher needs to know   4 the value
-- Gives the entry's id; 0 if the stream is full; -1 if the producer has given this attempt up meanwhile.
local epoch = redis.call('GET', KEYS[3])
if epoch then
  if tonumber(epoch) > tonumber(ARGV[2]) then return -1 end
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
local id = redis.call('XADD', KEYS[1], '*', 'n', KEYS[4], 'm', ARGV[3], 'v', ARGV[4])
redis.call('SET', KEYS[4], ARGV[4]) -- no time to live: it has to be there until the database has it
redis.call('HSET', KEYS[2], KEYS[4], id)
if ARGV[2] ~= '0' and epoch ~= ARGV[2] then redis.call('SET', KEYS[3], ARGV[2], 'EX', 3600) end
-- A version keeps 20 bits of an id's second part. It grows that far only while the clock stands still or went back.
local ms, n = string.match(id, '^(%d+)-(%d%d%d%d%d%d%d+)$')
if ms and tonumber(n) >= 1048575 then
  redis.call('XSETID', KEYS[1], string.format('%.0f', tonumber(ms) + 1) .. '-0')
end
return id
