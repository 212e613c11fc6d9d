-- Shared: what is due, done by whoever calls next; a bounded part at a time. Needs lanes.lua, time.lua, leases.lua and theirs.
local function mend()
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'delayed', '-inf', now, 'LIMIT', 0, 100)) do
    local record = call('HGET', P .. 'jobs', id)
    call('ZREM', P .. 'delayed', id)
    call('HDEL', P .. 'jobs', id)
    if record then push_one(string.match(record, '^([^\n]*)'), id, string.match(record, '\n(.*)$')) end
  end
  for _, token in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, 1)) do give_back(token) end
  for _, number in ipairs(call('ZRANGEBYSCORE', P .. 'held', '-inf', now, 'LIMIT', 0, 100)) do
    call('ZREM', P .. 'held', number)
    local name = lane_name(number)
    if name then ring_add(name, number) end
  end
  for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'unique_ends', '-inf', now, 'LIMIT', 0, 20)) do
    call('ZREM', P .. 'unique_ends', key)
    call('HDEL', P .. 'unique', key)
  end
  for _, producer in ipairs(call('ZRANGEBYSCORE', P .. 'told_ends', '-inf', now, 'LIMIT', 0, 20)) do
    call('ZREM', P .. 'told_ends', producer)
    call('HDEL', P .. 'told', producer)
  end
end

-- Milliseconds until something is due; -1: nothing is.
local function next_due()
  local nearest = -1
  for _, key in ipairs({ 'delayed', 'leases', 'held', 'cron_due' }) do
    local first = call('ZRANGE', P .. key, 0, 0, 'WITHSCORES')
    if first[2] and first[2] ~= 'inf' then
      local wait = math.max(0, tonumber(first[2]) - now)
      if nearest < 0 or wait < nearest then nearest = wait end
    end
  end
  return nearest
end
