-- Makes all versions higher than what the database holds, after the stream was deleted and the clock went back.
-- KEYS  1 lease   2 stream   3 hash of pending names   4 set when this was done
-- ARGV  1 the flusher's token   2 the id that belongs to the highest version in the database
-- Gives how many entries got a new id; -1 if the lease is another one's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[4], 1)
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local mark = redis.pcall('XADD', KEYS[2], ARGV[2], '0', '')
if type(mark) == 'table' then return 0 end -- refused: the stream is further on already
redis.call('XDEL', KEYS[2], mark)
if not newest then return 0 end
local from, count = '-', 0
while true do
  local entries = redis.call('XRANGE', KEYS[2], from, newest[1], 'COUNT', 1000)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    local ms, first = string.match(redis.call('XADD', KEYS[2], '*', unpack(fields)), '^(%d+)-(%d+)$')
    for i = 2, #fields do
      local known = redis.call('HGET', KEYS[3], fields[i])
      if known then -- else it is in the database
        redis.call('HSET', KEYS[3], fields[i], ms .. '-' .. (first + i - 2) .. string.match(known, ' .*$'))
      end
    end
    redis.call('XSETID', KEYS[2], ms .. '-' .. (first + #fields - 2))
    from, count = '(' .. entry[1], count + 1
  end
  if #entries == 0 then break end
end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
return count
