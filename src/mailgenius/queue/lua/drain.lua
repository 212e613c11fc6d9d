--- include lanes time events frames dead
-- Takes the waiting jobs of one chunk of a lane out of the queue; those that are worked on stay.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 lane's number
-- Gives {how many; 1 if there are more}.
local number = ARGV[2]
local ends = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number)
local tail, head = tonumber(ends[1] or 0), tonumber(ends[2] or 0)
if head >= tail then return { 0, 0 } end
local chunk, first = math.floor(head / SIZE), head % SIZE
local n = math.min(tail - head, SIZE - first)
local holes, names = 0, {}
for _, frame in ipairs(call('LRANGE', P .. 'c:' .. number .. ':' .. text(chunk), first, first + n - 1)) do
  if frame == '' then
    holes = holes + 1
  else
    local name, id = frame_name(frame), frame_id(frame)
    names[name] = (names[name] or 0) + 1
    if id then
      call('HDEL', P .. 'where', id)
      release(id)
      child_ended(id, true)
    end
  end
end
for name, count in pairs(names) do call('HINCRBY', P .. 'names', 'r' .. name, count) end
call('HSET', P .. 'lanes', 'h' .. number, text(head + n))
call('HINCRBY', P .. 'q', 'waiting', holes - n)
if holes > 0 then call('HINCRBY', P .. 'q', 'holes', -holes) end
if head + n == tail then
  local priority = string.sub(lane_name(number), 1, 1)
  local ring = P .. 'ring:' .. priority
  call('LREM', ring, 0, number)
  if call('LLEN', ring) == 0 then call('ZREM', P .. 'ready', priority) end
  call('ZREM', P .. 'held', number)
end
finish(number, text(chunk), n)
return { n - holes, head + n < tail and 1 or 0 }
