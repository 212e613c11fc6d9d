-- Strikes off what is in the database, and sets aside what cannot be written. Only for the holder of the lease.
-- KEYS  1 lease   2 stream   3 hash of pending names   4 hash of dead letters, by name   5.. names of the values
-- ARGV  1 the flusher's token   2 id of the last entry that is done, empty if more names of the same entries come
--       then three for each name:
--       what KEYS[3] said of it; milliseconds that the cached value may live from now; the dead letter, empty if it was written
-- Gives 1; 0 if the lease is another one's, and nothing is changed.
-- Unless there are dead letters, nothing here needs memory: a full server can be emptied.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local names, written = {}, {}
for i = 5, #KEYS do names[i - 4] = KEYS[i] end
local known = names[1] and redis.call('HMGET', KEYS[3], unpack(names))
local done = {}
for i = 1, #names do
  local at, name = 3 * i, names[i]
  if known[i] == ARGV[at] then -- else it was written since, and that write decides
    done[#done + 1] = name
    if ARGV[at + 2] ~= '' then
      redis.call('HSET', KEYS[4], name, ARGV[at + 2])
      redis.call('UNLINK', name) -- the database does not have it, so nobody should read it
    else
      written[#written + 1] = name
      redis.call('PEXPIRE', name, ARGV[at + 1])
    end
  end
end
if done[1] then redis.call('HDEL', KEYS[3], unpack(done)) end
if written[1] and redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('HDEL', KEYS[4], unpack(written)) -- older values that could not be written are superseded
end
if ARGV[2] ~= '' then
  local ms, n = string.match(ARGV[2], '^(%d+)-(%d+)$')
  redis.call('XTRIM', KEYS[2], 'MINID', ms .. '-' .. string.format('%.0f', tonumber(n) + 1))
end
return 1
