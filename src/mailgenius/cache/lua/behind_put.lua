-- Accepts writes: each onto the region's stream and into the cache, both or neither.
-- KEYS  1 stream of the region: an entry for each write that is not known to be in the database
--       2 hash: name of a value -> id of its latest entry, for as long as that is pending
--       3 string with a time to live: the lowest epoch of this producer that is still taken (missing: any)
--       4.. the names of the cached values
-- ARGV  1 most entries of the stream   2 epoch of the producer
--       then two for each name: what the flusher needs to know; the value
-- Gives the entries' ids, 0 for each that found the stream full; -1 if the producer has given this attempt up meanwhile.
local log, open = KEYS[1], KEYS[2]
local epoch = redis.call('GET', KEYS[3])
if epoch and tonumber(epoch) > tonumber(ARGV[2]) then return -1 end
local room = tonumber(ARGV[1]) - redis.call('XLEN', log)
local ids, values, latest = {}, {}, {}
for i = 4, #KEYS do
  local n = i - 3
  if room < n then
    ids[n] = 0
  else
    local name, value = KEYS[i], ARGV[2 * i - 4]
    local id = redis.call('XADD', log, '*', 'n', name, 'm', ARGV[2 * i - 5], 'v', value)
    ids[n] = id
    values[2 * n - 1], values[2 * n] = name, value
    latest[2 * n - 1], latest[2 * n] = name, id
    -- A version keeps 20 bits of an id's second part. It grows that far only while the clock stands still or went back.
    if #id > 20 and tonumber(string.match(id, '%d+$')) >= 1048575 then
      redis.call('XSETID', log, string.format('%.0f', tonumber(string.match(id, '^%d+')) + 1) .. '-0')
    end
  end
end
if values[1] then
  redis.call('MSET', unpack(values)) -- no time to live: they have to be there until the database has them
  redis.call('HSET', open, unpack(latest))
end
if ARGV[2] ~= '0' and epoch ~= ARGV[2] then redis.call('SET', KEYS[3], ARGV[2], 'EX', 3600) end
return ids
