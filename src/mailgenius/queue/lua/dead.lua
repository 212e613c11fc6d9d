-- Shared: jobs that failed for good. Needs lanes.lua, time.lua, events.lua, frames.lua.
-- A job that ends frees its unique key, unless that has a window of its own; and its parent learns of it. dead: it may be
-- let in once more, and then asks how many of its children failed.
local function release(id, dead)
  call('SREM', P .. 'cancelled', id)
  if not dead then call('HDEL', P .. 'flow_failed', id) end
  local key = call('HGET', P .. 'unique_of', id)
  if key then
    call('HDEL', P .. 'unique_of', id)
    local held = call('HGET', P .. 'unique', key)
    if held and string.match(held, '^(%S+)') == id and string.match(held, ' (%d+)$') == '0' then
      call('HDEL', P .. 'unique', key)
    end
  end
end

local bury

-- One child of a flow has ended; the last one lets the parent in, or is its death.
local function child_ended(id, failed)
  local parent = call('HGET', P .. 'parent_of', id)
  if not parent then return end
  call('HDEL', P .. 'parent_of', id)
  if call('HEXISTS', P .. 'flow_left', parent) == 0 then return end -- it was removed
  if failed then call('HINCRBY', P .. 'flow_failed', parent, 1) end
  if call('HINCRBY', P .. 'flow_left', parent, -1) > 0 then return end
  call('HDEL', P .. 'flow_left', parent)
  local record = call('HGET', P .. 'jobs', parent)
  if not record then return end
  call('HDEL', P .. 'jobs', parent)
  call('ZREM', P .. 'parents', parent)
  local lane, frame = string.match(record, '^([^\n]*)'), string.match(record, '\n(.*)$')
  local strict = call('SREM', P .. 'flow_strict', parent) == 1 and call('HGET', P .. 'flow_failed', parent)
  if strict then return bury(lane, parent, frame, '\2' .. strict) end
  push_one(lane, parent, frame)
  wake()
end

local function forget_dead(ids)
  if not ids[1] then return end
  for _, key in ipairs({ 'jobs', 'errors', 'progress', 'flow_failed' }) do call('HDEL', P .. key, unpack(ids)) end
  call('ZREM', P .. 'dead', unpack(ids))
end

-- It is kept, with its error, as the queue's settings say: so many, so long.
bury = function(name, id, frame, why)
  call('HSET', P .. 'jobs', id, name .. '\n' .. frame)
  call('HSET', P .. 'errors', id, why)
  call('ZADD', P .. 'dead', now, id)
  call('HDEL', P .. 'where', id)
  local title = frame_name(frame)
  call('HINCRBY', P .. 'names', 'x' .. title, 1)
  release(id, true)
  child_ended(id, true)
  tell('failed', id, title)
  local keep = call('HMGET', P .. 'q', 'keep_dead', 'keep_dead_ms')
  if keep[1] and tonumber(keep[1]) >= 0 then
    local over = call('ZCARD', P .. 'dead') - tonumber(keep[1])
    if over > 0 then forget_dead(call('ZRANGE', P .. 'dead', 0, math.min(over, 100) - 1)) end
  end
  if keep[2] and tonumber(keep[2]) > 0 then
    forget_dead(call('ZRANGEBYSCORE', P .. 'dead', '-inf', now - tonumber(keep[2]), 'LIMIT', 0, 100))
  end
end
