--- include lanes time events frames dead
-- Takes waiting jobs of a lane out of the queue, a bounded number; those that are worked on stay.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 lane's number
-- Gives {how many; 1 if there are more}.
local MOST, OWN = 300, 40 -- positions; jobs with an id of their own, which cost more
local number = ARGV[2]
local ends = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number)
local tail, head = tonumber(ends[1] or 0), tonumber(ends[2] or 0)
if head >= tail then return { 0, 0 } end
local chunk, first = math.floor(head / SIZE), head % SIZE
local n, holes, names, own = 0, 0, {}, {}
for _, frame in ipairs(call('LRANGE', P .. 'c:' .. number .. ':' .. text(chunk), first, first + math.min(tail - head, MOST) - 1)) do
  n = n + 1
  if frame == '' then
    holes = holes + 1
  else
    local name = frame_name(frame)
    names[name] = (names[name] or 0) + 1
    own[#own + 1] = frame_id(frame)
    if #own == OWN then break end
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
-- Only now: the end of a child may let its parent into this very lane.
for _, id in ipairs(own) do
  call('HDEL', P .. 'where', id)
  call('HDEL', P .. 'progress', id)
  release(id)
  child_ended(id, true)
end
return { n - holes, head + n < tail and 1 or 0 }
