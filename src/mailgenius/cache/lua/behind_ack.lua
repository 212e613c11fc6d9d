-- Strikes off what is in the database, and sets aside what cannot be written. Only for the holder of the lease.
-- KEYS  1 lease   2 stream   3 hash of pending names   4 hash of dead letters, by name   5.. names of the values
-- ARGV  1 the flusher's token   2 id of the last entry that is done   then three for each name:
--       id of its entry; milliseconds that the cached value may live from now; the dead letter, empty if it was written
-- Gives 1; 0 if the lease is another one's, and nothing is changed.
-- Unless there are dead letters, nothing here needs memory: a full server can be emptied.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 5, #KEYS do
  local at = 3 * (i - 4)
  local name, id, live, dead = KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call('HGET', KEYS[3], name) == id then -- else it was written since, and that write decides
    redis.call('HDEL', KEYS[3], name)
    if dead ~= '' then
      redis.call('HSET', KEYS[4], name, dead)
      redis.call('UNLINK', name) -- the database does not have it, so nobody should read it
    else
      redis.call('HDEL', KEYS[4], name) -- an older value that could not be written is superseded
      redis.call('PEXPIRE', name, live)
    end
  end
end
local ms, n = string.match(ARGV[2], '^(%d+)-(%d+)$')
redis.call('XTRIM', KEYS[2], 'MINID', ms .. '-' .. string.format('%.0f', tonumber(n) + 1))
return 1
