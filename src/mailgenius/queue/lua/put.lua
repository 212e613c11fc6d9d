--- include lanes time told events frames
-- Adds jobs that need more than a place: later, once, or as part of a flow. Each gets an id of its own.
-- KEYS  1 the queue; beside it, to those of add.lua: jobs, where, delayed, parents, unique, unique_of, unique_ends,
--         parent_of, flow_left, flow_strict
-- ARGV  1 time (tests)   2 caller   3 number of its call   4 milliseconds to remember it   5 most waiting jobs (0: any)
--       then ten for each job: lane; milliseconds to wait; or when, as milliseconds since 1970 (0: now); its name; unique
--       key ('': none); milliseconds that the key is kept (0: until the job ends); index (from 1, in this call) or id of
--       the parent ('': none); how many children it waits for; what to do with a taken key: keep | replace, or with a parent
--       if a child fails: run | fail; the job, which may bring an id that nobody else has
-- Gives {time; for each job: id, '1' if new or '0' if that is the one that holds the key}; as add.lua if the queue is full.
local before = told(ARGV[2], ARGV[3])
if before then return before end
local most = tonumber(ARGV[5])
if most > 0 then
  local waiting = tonumber(call('HGET', P .. 'q', 'waiting') or 0)
  if waiting + (#ARGV - 5) / 10 > most then return { text(now), false, waiting } end
end
local reply, ids, soonest = { text(now) }, {}, call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')[2]
for at = 6, #ARGV, 10 do
  local lane, delay, due, name, key = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  local window, parent, children, frame = tonumber(ARGV[at + 5]), ARGV[at + 6], tonumber(ARGV[at + 7]), ARGV[at + 9]
  local holder
  if key ~= '' then
    local held = call('HGET', P .. 'unique', key)
    if held then
      local id, ends = string.match(held, '^(%S+) (%d+)$')
      if ends == '0' or tonumber(ends) > now then holder = id end
    end
    if holder and ARGV[at + 8] == 'replace' and call('ZREM', P .. 'delayed', holder) == 1 then
      -- Only one that still waits for its time can be replaced: it gives its place to the new one (debounce).
      local record = call('HGET', P .. 'jobs', holder)
      call('HDEL', P .. 'jobs', holder)
      call('HDEL', P .. 'unique_of', holder)
      call('HDEL', P .. 'progress', holder)
      call('HINCRBY', P .. 'names', 'r' .. frame_name(string.match(record, '\n(.*)$')), 1)
      holder = nil
    end
  end
  local id = holder
  if not holder then
    id = frame_id(frame) or '0-' .. text(call('HINCRBY', P .. 'q', 'id', 1))
    frame = with_id(frame, id)
    if key ~= '' then
      local ends = window > 0 and text(now + window) or '0'
      call('HSET', P .. 'unique', key, id .. ' ' .. ends)
      call('HSET', P .. 'unique_of', id, key)
      if window > 0 then call('ZADD', P .. 'unique_ends', ends, key) else call('ZREM', P .. 'unique_ends', key) end
    end
    if parent ~= '' then call('HSET', P .. 'parent_of', id, ids[tonumber(parent)] or parent) end
    if due == 0 and delay > 0 then due = now + delay end
    if children > 0 then
      call('HSET', P .. 'jobs', id, lane .. '\n' .. frame)
      call('ZADD', P .. 'parents', now, id)
      call('HSET', P .. 'flow_left', id, children)
      if ARGV[at + 8] == 'fail' then call('SADD', P .. 'flow_strict', id) end
    elseif due > now then
      call('HSET', P .. 'jobs', id, lane .. '\n' .. frame)
      call('ZADD', P .. 'delayed', text(due), id)
      soon(due)
    else
      push_one(lane, id, frame)
    end
    call('HINCRBY', P .. 'names', 'a' .. name, 1)
  end
  ids[#ids + 1] = id
  reply[#reply + 1], reply[#reply + 2] = id, holder and '0' or '1'
end
remember(ARGV[2], ARGV[3], reply, ARGV[4])
local first = call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')[2]
if (tonumber(call('HGET', P .. 'q', 'waiting') or 0) > 0) or first ~= soonest then wake() end
return reply
