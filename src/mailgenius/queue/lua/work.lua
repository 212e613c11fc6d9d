--- include lanes time events frames dead leases mend limits
-- A worker's call: says what is done, and leases what is next.
-- KEYS  1 the queue; beside it nearly all others
-- ARGV  1 time (tests)   2 worker   3 number of its call   4 that of the last one whose reply it has heard
--       5 jobs wanted   6 milliseconds of the lease
--       7 1 if the worker has nothing else to do (and so may have a job that must come alone), else 0
--       8 leases; then for each: token; the indexes not done with ('': none); ids of those done, for events: 5-1 5-7..9;
--         how many names; then each name and how many of its jobs are done
--       most records of done jobs to keep; then the records, oldest first
-- Gives {time; milliseconds until there may be more (-1: nobody knows of any, -2: there is more now);
--   tokens that were lost; 1 if cron is due; 1 if a job waits that must come alone and this worker is to have it: it should
--   finish the others first; then for each lease, LEASES at most, and those of a call whose reply it has not heard: token;
--   lane's number; lane's name; first position as text; how many jobs; the jobs}
local LEASES = 16
local worker, want = ARGV[2], tonumber(ARGV[5])
local lost, n = {}, tonumber(ARGV[8])
local last = call('HGET', P .. 'workers', worker)
local count = last and tonumber(string.match(last, '^(%d+) ')) or 0
-- A call that comes after a later one of its worker, or after the worker's end, was repeated long ago.
if tonumber(ARGV[3]) < count then return { text(now), -1, lost, 0, 0 } end
local again = tonumber(ARGV[3]) == count
local unheard = tonumber(ARGV[4]) < count and string.match(last, ' (.*)$') or ''
if not again then
  local at = 9
  for _ = 1, n do
    local token, left, ids, names = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local lease = lease_read(token)
    if not lease or lease.worker ~= worker then
      lost[#lost + 1] = token
    else
      local done = lease.count - #left / 2
      lease_keep(token, lease, left)
      call('HINCRBY', P .. 'q', 'active', 0 - done)
      finish(lease.number, lease.chunk, done)
      for i = at + 4, at + 2 + 2 * names, 2 do call('HINCRBY', P .. 'names', 'd' .. ARGV[i], ARGV[i + 1]) end
      if ids ~= '' then tell('completed', ids) end
    end
    at = at + 4 + 2 * names
  end
  if at < #ARGV then
    call('LPUSH', P .. 'kept', unpack(ARGV, at + 1))
    call('LTRIM', P .. 'kept', 0, tonumber(ARGV[at]) - 1)
  end
end
mend()

local function lease(number, name, most)
  local ends = call('HMGET', P .. 'lanes', 't' .. number, 'h' .. number)
  local tail, head = tonumber(ends[1] or 0), tonumber(ends[2] or 0)
  local chunk, first = math.floor(head / SIZE), head % SIZE
  local count = math.min(most, tail - head, SIZE - first)
  local frames = call('LRANGE', P .. 'c:' .. number .. ':' .. text(chunk), first, first + count - 1)
  call('HSET', P .. 'lanes', 'h' .. number, text(head + count))
  -- Later than any that was given by a server that has lost its last second since: the same one twice would let a worker
  -- end jobs by the lease of others.
  local token = text(math.max(tonumber(call('HGET', P .. 'q', 'token') or 0) + 1, now * 1000))
  call('HSET', P .. 'q', 'token', token)
  call('ZADD', P .. 'leases', text(now + ARGV[6]), token)
  soon(now + ARGV[6])
  call('HSET', P .. 'leased', token, table.concat({ worker, number, text(chunk), text(first), text(first + count), '' }, ' '))
  call('HINCRBY', P .. 'q', 'active', count)
  local holes = tonumber(call('HGET', P .. 'q', 'holes') or 0)
  local found = 0
  if holes > 0 then
    for i = 1, count do
      if frames[i] == '' then found = found + 1 end
    end
    if found > 0 then call('HINCRBY', P .. 'q', 'holes', -found) end
  end
  call('HINCRBY', P .. 'q', 'waiting', found - count)
  return token, text(head), frames, count, head + count == tail
end

-- The first lane of a ring that may give jobs now; those that may not are held back.
local function from_ring(priority, most)
  local ring = P .. 'ring:' .. priority
  for _ = 1, 64 do
    local number = call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
    if not number then break end
    local name = lane_name(number)
    local group = string.sub(name, 3)
    local n, wait, tokens = most, 0, nil
    local paused = group ~= '' and call('SISMEMBER', P .. 'paused', group) == 1
    if paused then
      n, wait = 0, nil
    elseif group ~= '' then
      n, wait, tokens = allowance(group, most)
    end
    local token, first, frames, count, emptied
    if n > 0 then
      token, first, frames, count, emptied = lease(number, name, n)
      spend(group, count, tokens)
    else
      call('ZADD', P .. 'held', wait and text(now + wait) or '+inf', number)
      if wait then soon(now + wait) end
    end
    if n == 0 or emptied then
      call('RPOP', ring)
      if call('LLEN', ring) == 0 then call('ZREM', P .. 'ready', priority) end
    end
    if n > 0 then return token, number, name, first, frames, count end
  end
end

local reply, tokens, given = { text(now), -1, lost, 0, 0 }, {}, 0
local function give(token, number, name, first, frames)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4], reply[n + 5] = token, number, name, first, #frames
  for i = 1, #frames do reply[n + 5 + i] = frames[i] end
  tokens[#tokens + 1] = token
end

for token in string.gmatch(unheard, '%S+') do
  local old = lease_read(token)
  if old and old.worker == worker then
    local name = lane_name(old.number)
    give(token, old.number, name, text(tonumber(old.chunk) * SIZE + old.first),
      call('LRANGE', P .. 'c:' .. old.number .. ':' .. old.chunk, old.first, old.stop - 1))
    reply[2] = -2
    if string.sub(name, 1, 1) == 'A' then want = 0 end
  end
end

local most = #tokens + LEASES
local function give_from(priority, leases)
  while given < want and #tokens < leases do
    local token, number, name, first, frames, count = from_ring(priority, want - given)
    if not token then return end
    give(token, number, name, first, frames)
    given = given + count
  end
end

local queue = call('HMGET', P .. 'q', 'paused', 'waiting')
local wait = 0
if again then
  want = -1 -- it has them
elseif want > 0 and not queue[1] and tonumber(queue[2] or 0) > 0 then
  local allowed
  want, wait, allowed = allowance('', want)
  if want > 0 then
    local ready = call('ZRANGE', P .. 'ready', 0, -1)
    if ready[#ready] == 'A' then
      ready[#ready] = nil
      -- One worker at a time makes room for it, so that the others go on.
      local claim = call('GET', P .. 'alone')
      if not claim or claim == worker then
        if ARGV[7] == '1' then
          want = 1
          give_from('A', #tokens + 1)
          if given > 0 then call('SET', P .. 'alone', worker, 'PX', 1) end
        else
          call('SET', P .. 'alone', worker, 'PX', ARGV[6])
          reply[5] = 1
        end
      end
    end
    if given == 0 and reply[5] == 0 and ready[1] then
      -- Of four turns, one begins with the second priority; of four of these, one with the third; and so on: none starves.
      local turn, k = call('HINCRBY', P .. 'q', 'turn', 1), 1
      while turn % 4 == 0 and k < #ready and ready[1] ~= '0' do
        turn, k = turn / 4, k + 1
      end
      give_from(ready[k], most)
      for i = 1, #ready do
        if i ~= k then give_from(ready[i], most) end
      end
    end
    if given > 0 then
      spend('', given, allowed)
      if tonumber(queue[2]) > given then
        reply[2] = -2
        wake()
      end
    end
  end
elseif want == 0 and not queue[1] and tonumber(queue[2] or 0) > 0 then
  wake() -- this one has enough to do: another one may take them
end
if not again then call('HSET', P .. 'workers', worker, ARGV[3] .. ' ' .. table.concat(tokens, ' ')) end
if reply[2] == -1 then
  reply[2] = next_due()
  if wait > 0 and (reply[2] < 0 or wait < reply[2]) then reply[2] = wait end
end
if call('EXISTS', P .. 'cron_due') == 1 then
  local cron = call('ZRANGE', P .. 'cron_due', 0, 0, 'WITHSCORES')[2]
  if tonumber(cron) <= now then reply[4] = 1 end
end
return reply
