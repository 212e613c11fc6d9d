-- Shared: what is due, done by whoever calls next; a bounded part at a time. Needs lanes.lua, time.lua, leases.lua and theirs.
local next_due

local function mend()
  local next = call('HGET', P .. 'q', 'next')
  if not next or tonumber(next) > now then return end
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'delayed', '-inf', now, 'LIMIT', 0, 100)) do
    local record = call('HGET', P .. 'jobs', id)
    call('ZREM', P .. 'delayed', id)
    call('HDEL', P .. 'jobs', id)
    if record then push_one(string.match(record, '^([^\n]*)'), id, string.match(record, '\n(.*)$')) end
  end
  -- A worker may have had hundreds of small leases.
  local most = MOST
  for _, token in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, 50)) do
    local _, n = give_back(token, nil, nil, most)
    most = most - n
    if most <= 0 then break end
  end
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
    call('HDEL', P .. 'workers', producer)
  end
  local wait = next_due()
  if wait < 0 then call('HDEL', P .. 'q', 'next') else call('HSET', P .. 'q', 'next', text(now + wait)) end
end

-- Milliseconds until something is due; -1: nothing is.
next_due = function()
  local nearest = -1
  for _, key in ipairs({ 'delayed', 'leases', 'held' }) do
    local first = call('ZRANGE', P .. key, 0, 0, 'WITHSCORES')
    if first[2] and first[2] ~= 'inf' then
      local wait = math.max(0, tonumber(first[2]) - now)
      if nearest < 0 or wait < nearest then nearest = wait end
    end
  end
  local cron = call('ZRANGE', P .. 'cron_due', 0, 0, 'WITHSCORES')[2]
  if cron then
    cron = tonumber(cron)
    -- Workers let cron jobs in; one that is due is not a reason for scripts to look again.
    if cron > now and (nearest < 0 or cron - now < nearest) then nearest = cron - now end
  end
  return nearest
end
