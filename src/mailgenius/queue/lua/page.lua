--- include lanes time events frames dead leases
-- Some jobs of a state, from a cursor on. Changes nothing.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 waiting | active | delayed | blocked | failed   3 cursor ('': from the start)   4 most jobs to give
--       5 most to look at   6 only those of this name ('': all)
-- Gives {cursor ('': these were the last); then for each job: id; its bytes; when due or failed; its worker}.
-- Waiting: by priority, lane, position. Active: by lease. Delayed and blocked: what was first, first. Failed: the last, first.
local state, cursor, most, look, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local reply, given = { '' }, 0
local function give(id, frame, at, worker)
  if wanted ~= '' and frame_name(frame) ~= wanted then return end
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, frame, at, worker
  given = given + 1
end

-- Of a sorted set, whose cursor is "score id" of the last one that was looked at.
local function sorted(key, down)
  local from = down and call('ZCARD', key) - 1 or 0
  if cursor ~= '' then
    local score, id = string.match(cursor, '^(%S+) (.*)$')
    local low, high = call('ZCOUNT', key, '-inf', '(' .. score), call('ZCOUNT', key, '-inf', score)
    while low < high do -- the first with this score that is beyond it (up) or not before it (down)
      local middle = math.floor((low + high) / 2)
      local other = call('ZRANGE', key, middle, middle)[1]
      if other < id or (other == id and not down) then low = middle + 1 else high = middle end
    end
    from = down and low - 1 or low
  end
  if from < 0 then return end
  local n = math.min(look, wanted == '' and most or look)
  local found
  if down then
    local last = call('ZCARD', key) - 1 - from
    found = call('ZREVRANGE', key, last, last + n - 1, 'WITHSCORES')
  else
    found = call('ZRANGE', key, from, from + n - 1, 'WITHSCORES')
  end
  if #found == 0 then return end
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  local records = call('HMGET', P .. 'jobs', unpack(ids))
  for i = 1, #ids do
    if records[i] then give(ids[i], string.match(records[i], '\n(.*)$'), found[2 * i], '') end
    if given == most or i == #ids then
      if i < n and i == #ids then return end
      reply[1] = found[2 * i] .. ' ' .. ids[i]
      return
    end
  end
end

-- Leases in order of their tokens; the cursor is "token index".
local function active()
  local tokens, after, index = call('HKEYS', P .. 'leased'), 0, -1
  table.sort(tokens, function(a, b) return tonumber(a) < tonumber(b) end)
  if cursor ~= '' then after, index = string.match(cursor, '^(%d+) (%d+)$') end
  after, index = tonumber(after), tonumber(index)
  for _, token in ipairs(tokens) do
    if tonumber(token) >= after then
      local lease = lease_read(token)
      local frames = call('LRANGE', P .. 'c:' .. lease.number .. ':' .. lease.chunk, lease.first, lease.stop - 1)
      for _, at in ipairs(lease_indexes(lease)) do
        local frame = frames[at - lease.first + 1]
        if frame and frame ~= '' and (tonumber(token) > after or at > index) then
          look = look - 1
          give(frame_id(frame) or (lease.number .. '-' .. text(lease.chunk * SIZE + at)), frame, '', lease.worker)
          if given == most or look == 0 then
            reply[1] = token .. ' ' .. at
            return
          end
        end
      end
    end
  end
end

-- Lanes in order of priority and number; the cursor is "lane place position": place orders lanes.
local function waiting()
  local lanes = {}
  local function add(priority, number)
    local place = string.byte(priority) * 2 ^ 40 + (#number > 1 and tonumber(number) or 0)
    lanes[#lanes + 1] = { place, number }
  end
  for priority in string.gmatch('0123456789A', '.') do
    for _, number in ipairs(call('LRANGE', P .. 'ring:' .. priority, 0, -1)) do add(priority, number) end
  end
  for _, number in ipairs(call('ZRANGE', P .. 'held', 0, -1)) do add(string.sub(lane_name(number), 1, 1), number) end
  table.sort(lanes, function(a, b) return a[1] < b[1] end)
  local after, position = -1, -1
  if cursor ~= '' then after, position = string.match(cursor, '^(%d+) (%d+)$') end
  after, position = tonumber(after), tonumber(position)
  for _, lane in ipairs(lanes) do
    local place, number = lane[1], lane[2]
    if place >= after then
      local ends = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number)
      local tail, at = tonumber(ends[1] or 0), tonumber(ends[2] or 0)
      if place == after then at = math.max(at, position + 1) end
      while at < tail do
        local first = at % SIZE
        local n = math.min(tail - at, SIZE - first, look, wanted == '' and most - given or look)
        for i, frame in ipairs(call('LRANGE', P .. 'c:' .. number .. ':' .. text(math.floor(at / SIZE)), first, first + n - 1)) do
          look = look - 1
          if frame ~= '' then give(frame_id(frame) or (number .. '-' .. text(at + i - 1)), frame, '', '') end
          if given == most or look == 0 then
            reply[1] = text(place) .. ' ' .. text(at + i - 1)
            return
          end
        end
        at = at + n
      end
    end
  end
end

if state == 'waiting' then
  waiting()
elseif state == 'active' then
  active()
else
  sorted(P .. ({ delayed = 'delayed', blocked = 'parents', failed = 'dead' })[state], state == 'failed')
end
return reply
