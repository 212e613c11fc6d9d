-- Accepts writes: each into the cache, and its name onto the region's stream, both or neither.
-- KEYS  1 stream of the region: an entry for each call of this script with a write that is not known to be in the database.
--         What is in an entry: how many writes were accepted before it, their names, '' if that would be an odd number
--       2 hash: name of a value -> id of its latest write, a space, what the flusher needs to know; while that is pending
--       3 string with a time to live: the lowest epoch of this producer that is still taken (missing: any)
--       4 how many writes were ever accepted
--       5.. the names of the cached values, 50 at most
-- ARGV  1 most writes that may wait   2 epoch of the producer
--       then two for each name: what the flusher needs to know; the value
-- Gives {id; n}: the first n were accepted, with this id and those after it, and the others found no room;
-- -1 if the producer has given this attempt up meanwhile.
local log, count = KEYS[1], KEYS[4]
local epoch = redis.call('GET', KEYS[3])
if epoch and tonumber(epoch) > tonumber(ARGV[2]) then return -1 end
local n, most = #KEYS - 4, tonumber(ARGV[1])
if 50 * redis.call('XLEN', log) + n > most then -- there may be too many
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if oldest then most = most + tonumber(oldest[2][1]) - tonumber(redis.call('GET', count) or 0) end
  if most < n then n = most end
  if n <= 0 then return {'', 0} end
end
local entry, values, latest = {redis.call('INCRBY', count, n) - n}, {}, {}
for i = 1, n do entry[i + 1] = KEYS[i + 4] end
if n % 2 == 0 then entry[n + 2] = '' end
local id = redis.call('XADD', log, '*', unpack(entry))
local ms, first = string.match(id, '^(%d+)-(%d+)$')
local last = first + n - 1
for i = 1, n do
  local at, name = 2 * i, KEYS[i + 4]
  values[at - 1], values[at] = name, ARGV[at + 2]
  latest[at - 1], latest[at] = name, ms .. '-' .. (first + i - 1) .. ' ' .. ARGV[at + 1]
end
redis.call('MSET', unpack(values)) -- no time to live: they have to be there until the database has them
redis.call('HSET', KEYS[2], unpack(latest))
-- The next entry's id comes after all of these. A version keeps 20 bits of the second part, which grows that far only while
-- the clock stands still or went back.
if last >= 1048575 then
  redis.call('XSETID', log, string.format('%.0f-%d', ms + 1 + math.floor(last / 1048576), n))
elseif n > 1 then
  redis.call('XSETID', log, ms .. '-' .. last)
end
if ARGV[2] ~= '0' and epoch ~= ARGV[2] then redis.call('SET', KEYS[3], ARGV[2], 'EX', 3600) end
return {id, n}
