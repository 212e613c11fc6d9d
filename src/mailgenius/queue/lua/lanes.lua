-- Shared by the scripts that put jobs into lanes or take them out (see docs/design/queue.md for the keys).
-- A lane is an endless row of jobs, kept in chunks of SIZE positions; a lane that has waiting jobs stands in exactly one of
-- the ring of its priority, or the lanes held back.
local P = string.sub(KEYS[1], 1, -2)
local SIZE = 1024
local call = redis.call

local function text(number)
  return string.format('%.0f', number)
end

-- A lane's name is its priority, and after a colon its group.
local function lane_number(name)
  if #name == 1 then return name end
  local number = call('HGET', P .. 'lanes', '#' .. name)
  if not number then
    number = text(call('HINCRBY', P .. 'lanes', 'last', 1) + 99)
    call('HSET', P .. 'lanes', '#' .. name, number, 'n' .. number, name)
  end
  return number
end

local function lane_name(number)
  if #number == 1 then return number end
  return call('HGET', P .. 'lanes', 'n' .. number)
end

local function ring_add(name, number)
  local priority = string.sub(name, 1, 1)
  if call('RPUSH', P .. 'ring:' .. priority, number) == 1 then
    call('ZADD', P .. 'ready', string.byte(priority), priority)
  end
end

-- One that waits for jobs is told that there are some.
local function wake()
  if call('LLEN', P .. 'wake') == 0 then call('RPUSH', P .. 'wake', '1') end
end

-- Appends frames[first..last]; the lane's number and the first job's position.
local function push(name, frames, first, last)
  local number = lane_number(name)
  local at = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number, 'u' .. number)
  local tail, head, n = tonumber(at[1] or 0), tonumber(at[2] or 0), last - first + 1
  local position, i = tail, first
  while i <= last do
    local part = math.min(SIZE - position % SIZE, last - i + 1)
    local chunk = P .. 'c:' .. number .. ':' .. text(math.floor(position / SIZE))
    call('RPUSH', chunk, unpack(frames, i, i + part - 1))
    position, i = position + part, i + part
  end
  call('HSET', P .. 'lanes', 't' .. number, text(position), 'u' .. number, text(tonumber(at[3] or 0) + n))
  call('HINCRBY', P .. 'q', 'waiting', n)
  if head == tail then ring_add(name, number) end
  return number, tail
end

-- A job that brings its own id is found by it.
local function push_one(name, id, frame)
  local number, position = push(name, { frame }, 1, 1)
  call('HSET', P .. 'where', id, number .. '-' .. text(position))
end

-- n more positions of a chunk are done with. A chunk of which that is true for all is forgotten, and so is all of a lane.
local function finish(number, chunk, n)
  local field = number .. ':' .. chunk
  local finished = call('HINCRBY', P .. 'finished', field, n)
  local unfinished = call('HINCRBY', P .. 'lanes', 'u' .. number, 0 - n) -- -0 would be "-0" to 6.2
  if finished == SIZE then
    call('HDEL', P .. 'finished', field)
    call('UNLINK', P .. 'c:' .. number .. ':' .. chunk)
  end
  if unfinished > 0 then return end
  local tail = tonumber(call('HGET', P .. 'lanes', 't' .. number))
  if tail % SIZE > 0 then
    local last = math.floor(tail / SIZE)
    field = number .. ':' .. text(last)
    call('HDEL', P .. 'finished', field)
    call('UNLINK', P .. 'c:' .. field)
    tail = (last + 1) * SIZE
  end
  if #number == 1 then
    call('HSET', P .. 'lanes', 't' .. number, text(tail), 'h' .. number, text(tail))
  else -- its number is never given again, so that ids stay unique
    local name = lane_name(number)
    call('HDEL', P .. 'lanes', 't' .. number, 'h' .. number, 'u' .. number, 'n' .. number, '#' .. name)
  end
end
