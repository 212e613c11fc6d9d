-- Shared: leases. Needs lanes.lua, time.lua, events.lua, frames.lua, dead.lua.
-- A lease is "worker lane chunk first end " and, once some of its jobs are done with, the indexes in the chunk of those that
-- are not, as big-endian 16 bit numbers. Its token is its name, higher for each new one: who has lost it, is refused by it.
local function lease_read(token)
  local value = call('HGET', P .. 'leased', token)
  if not value then return end
  local worker, number, chunk, first, stop, left = string.match(value, '^(%S+) (%w+) (%d+) (%d+) (%d+) (.*)$')
  return { worker = worker, number = number, chunk = chunk, first = tonumber(first), stop = tonumber(stop), left = left,
    count = #left > 0 and #left / 2 or stop - first }
end

local function lease_end(token)
  call('HDEL', P .. 'leased', token)
  call('ZREM', P .. 'leases', token)
end

-- The lease is for these indexes alone from now on; none: it ends.
local function lease_keep(token, lease, left)
  if #left == 0 then return lease_end(token) end
  call('HSET', P .. 'leased', token, table.concat(
    { lease.worker, lease.number, lease.chunk, text(lease.first), text(lease.stop), left }, ' '))
end

local function lease_indexes(lease)
  local indexes = {}
  if #lease.left == 0 then
    for i = lease.first, lease.stop - 1 do indexes[#indexes + 1] = i end
  else
    for i = 1, #lease.left, 2 do indexes[#indexes + 1] = string.byte(lease.left, i) * 256 + string.byte(lease.left, i + 1) end
  end
  return indexes
end

-- Jobs of a worker that is gone go to the front. Those that it had begun may be what killed it: they have stalled, come
-- alone next time, and are dead after too many times. begun: set of indexes, or nil if nobody knows; done: set of indexes,
-- or nil: the worker had done these, and did not come to say so. So many jobs at a time (MOST): the rest stays under the same
-- token, for whoever calls next. It is nobody's then: "-", or "+" if none of it had begun.
-- Gives how many wait again, and how many it was for.
local MOST = 200
local function give_back(token, begun, done, most)
  local lease = lease_read(token)
  if not lease then return 0, 0 end
  local worker, name = lease.worker, lane_name(lease.number)
  if worker == '+' then begun = {} end
  local first, rest, names, completed, stalled, n, waiting = {}, {}, {}, {}, {}, 0, 0
  local frames = call('LRANGE', P .. 'c:' .. lease.number .. ':' .. lease.chunk, lease.first, lease.stop - 1)
  local function place(index)
    return lease.number .. '-' .. text(tonumber(lease.chunk) * SIZE + index)
  end
  for _, index in ipairs(lease_indexes(lease)) do
    local frame = frames[index - lease.first + 1]
    if frame == '' then
      n = n + 1
    elseif done and done[index] then
      n = n + 1
      local id, title = frame_id(frame), frame_name(frame)
      names[title] = (names[title] or 0) + 1
      completed[#completed + 1] = id or place(index)
      if id then
        call('HDEL', P .. 'where', id)
        release(id)
        child_ended(id, false)
      end
    elseif begun and not begun[index] then
      rest[#rest + 1] = index
    else
      first[#first + 1] = index
    end
  end
  -- What had begun goes first, all of it if it is known: then of the rest it is known that it had not.
  local suspects = begun and #first or math.min(#first, most or MOST)
  local allowed = tonumber(call('HGET', P .. 'q', 'max_stalled') or 1)
  for i = 1, suspects do
    local frame = frames[first[i] - lease.first + 1]
    local id, stalls = frame_id(frame) or place(first[i]), string.byte(frame, 3) + 1
    frame = with_stalls(with_id(frame, id), stalls)
    stalled[i] = id
    if stalls > allowed then
      bury(name, id, frame, '\1' .. worker)
    else
      push_one('A' .. string.sub(name, 2), id, frame)
      waiting = waiting + 1
    end
  end
  local innocent = math.min(#rest, math.max(0, (most or MOST) - suspects))
  for i = 1, innocent do
    local frame = frames[rest[i] - lease.first + 1]
    local id = frame_id(frame) or place(rest[i])
    push_one('0' .. string.sub(name, 2), id, with_id(frame, id))
  end
  local left = {}
  for i = suspects + 1, #first do left[#left + 1] = string.char(math.floor(first[i] / 256), first[i] % 256) end
  for i = innocent + 1, #rest do left[#left + 1] = string.char(math.floor(rest[i] / 256), rest[i] % 256) end
  lease.worker = begun and '+' or '-'
  lease_keep(token, lease, table.concat(left))
  if left[1] then
    call('ZADD', P .. 'leases', text(now), token)
    soon(now)
  end
  n = n + suspects + innocent
  call('HINCRBY', P .. 'q', 'active', 0 - n)
  for title, count in pairs(names) do call('HINCRBY', P .. 'names', 'd' .. title, count) end
  if #completed > 0 then tell('completed', table.concat(completed, ' ')) end
  if #stalled > 0 then
    call('HINCRBY', P .. 'q', 'stalled', #stalled)
    tell('stalled', table.concat(stalled, ' '))
  end
  -- Its worker's calls need not be known any more.
  if worker ~= '+' and worker ~= '-' then call('ZADD', P .. 'told_ends', text(now + 86400000), worker) end
  finish(lease.number, lease.chunk, n)
  wake()
  return waiting + innocent, n
end
