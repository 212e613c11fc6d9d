-- Shared: where a job is. Needs lanes.lua, time.lua, events.lua, frames.lua, dead.lua, leases.lua.
-- Gives its state, its bytes, and: delayed: when it is due; failed: when it failed; waiting, active: lane's number, chunk, index.
local function find(id)
  for state, key in pairs({ delayed = 'delayed', failed = 'dead', blocked = 'parents' }) do
    local score = call('ZSCORE', P .. key, id)
    if score then
      local record = call('HGET', P .. 'jobs', id)
      return state, string.match(record, '\n(.*)$'), score
    end
  end
  local number, position = string.match(call('HGET', P .. 'where', id) or id, '^(%w+)%-(%d+)$')
  if not number then return end
  local ends = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number)
  position = tonumber(position)
  if position >= tonumber(ends[1] or 0) then return end
  local chunk, index = text(math.floor(position / SIZE)), position % SIZE
  local frame = call('LINDEX', P .. 'c:' .. number .. ':' .. chunk, index)
  if not frame or frame == '' then return end
  if (frame_id(frame) or id) ~= id then return end
  if position >= tonumber(ends[2] or 0) then return 'waiting', frame, number, chunk, index end
  for _, token in ipairs(call('HKEYS', P .. 'leased')) do
    local lease = lease_read(token)
    if lease.number == number and lease.chunk == chunk then
      for _, one in ipairs(lease_indexes(lease)) do
        if one == index then return 'active', frame, number, chunk, index, lease.worker end
      end
    end
  end
end

-- Takes a job out of wherever it waits. Gives its state before and its bytes; of an active one nothing changes.
local function take(id)
  local state, frame, number, chunk, index = find(id)
  if state == 'waiting' then
    call('LSET', P .. 'c:' .. number .. ':' .. chunk, index, '')
    call('HINCRBY', P .. 'q', 'holes', 1)
    call('HINCRBY', P .. 'q', 'waiting', -1)
    call('HDEL', P .. 'where', id)
  elseif state and state ~= 'active' then
    call('ZREM', P .. 'delayed', id)
    call('ZREM', P .. 'dead', id)
    call('ZREM', P .. 'parents', id)
    call('HDEL', P .. 'jobs', id)
    call('HDEL', P .. 'errors', id)
  end
  return state, frame
end
