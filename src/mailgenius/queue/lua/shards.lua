--- include lanes
-- How many shards the queue has.
-- KEYS  1 the queue, its first shard
-- ARGV  1 time (tests)   2 ask | use: written down if nobody has used the queue yet | set   3 how many
-- Gives how many; 0 if nobody has used it.
local known = call('HGET', KEYS[1], 'shards')
if ARGV[2] ~= 'set' then
  if known then return tonumber(known) end
  if call('EXISTS', KEYS[1]) == 1 then return 1 end
  if ARGV[2] == 'ask' then return 0 end
end
call('HSET', KEYS[1], 'shards', ARGV[3])
return tonumber(ARGV[3])
