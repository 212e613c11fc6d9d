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
-- alone next time, and are dead after too many times. begun: set of indexes, or nil if nobody knows. MOST jobs at a time:
-- the rest stays under the same token, which is nobody's from then on. Gives how many wait again, and whether there is a rest.
local MOST = 200
local function give_back(token, begun)
  local lease = lease_read(token)
  if not lease then return 0, false end
  local name, chunk = lane_name(lease.number), P .. 'c:' .. lease.number .. ':' .. lease.chunk
  local worker = lease.worker
  local allowed = tonumber(call('HGET', P .. 'q', 'max_stalled') or 1)
  local indexes, stalled, waiting = lease_indexes(lease), {}, 0
  local n = math.min(#indexes, MOST)
  for i = 1, n do
    local frame = call('LINDEX', chunk, indexes[i])
    if frame ~= '' then
      local id = frame_id(frame) or (lease.number .. '-' .. text(tonumber(lease.chunk) * SIZE + indexes[i]))
      frame = with_id(frame, id)
      if begun and not begun[indexes[i]] then
        push_one('0' .. string.sub(name, 2), id, frame)
        waiting = waiting + 1
      else
        local stalls = string.byte(frame, 3) + 1
        frame = with_stalls(frame, stalls)
        stalled[#stalled + 1] = id
        if stalls > allowed then
          bury(name, id, frame, '\1' .. worker)
        else
          push_one('A' .. string.sub(name, 2), id, frame)
          waiting = waiting + 1
        end
      end
    end
  end
  local rest = {}
  for i = n + 1, #indexes do rest[#rest + 1] = string.char(math.floor(indexes[i] / 256), indexes[i] % 256) end
  lease.worker = '-'
  lease_keep(token, lease, table.concat(rest))
  if begun and rest[1] then
    call('ZADD', P .. 'leases', text(now + 5000), token)
    soon(now + 5000)
  end
  call('HINCRBY', P .. 'q', 'active', -n)
  if #stalled > 0 then
    call('HINCRBY', P .. 'q', 'stalled', #stalled)
    tell('stalled', table.concat(stalled, ' '))
  end
  finish(lease.number, lease.chunk, n)
  wake()
  return waiting, rest[1] ~= nil
end
