--- include lanes time events frames dead leases
-- Ends jobs of one lease that need more than being done. Repeated, it changes nothing.
-- KEYS  1 the queue; beside it: leases, leased, lanes, c:*, finished, jobs, where, delayed, dead, errors, names, unique*,
--         flow_*, parent_of, kept, r:<id>, events, wake
-- ARGV  1 time (tests)   2 worker   3 token   4 most records of done jobs to keep
--       then seven for each job: index in its chunk; done | retry | dead | back; id; name;
--         done: milliseconds to keep the result (0: not); the result; its record ('': none)
--         retry: milliseconds to wait; its lane; the job
--         dead: the error; its lane; the job         back (not begun): ''; its lane; the job
-- Gives {time, 1}; {time, 0} if the lease was lost: nothing was done then.
local token = ARGV[3]
local lease = lease_read(token)
if not lease or lease.worker ~= ARGV[2] then return { text(now), 0 } end
local left = {}
for _, index in ipairs(lease_indexes(lease)) do left[index] = true end
local ended, completed, more = 0, {}, false
for at = 5, #ARGV, 7 do
  local index, kind, id, name = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local a, b, c = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  if left[index] then
    left[index] = nil
    ended = ended + 1
    if kind == 'done' then
      if tonumber(a) > 0 then call('SET', P .. 'r:' .. id, b, 'PX', a) end
      if c ~= '' then
        call('LPUSH', P .. 'kept', c)
        call('LTRIM', P .. 'kept', 0, tonumber(ARGV[4]) - 1)
      end
      call('HDEL', P .. 'where', id)
      call('HDEL', P .. 'progress', id)
      call('HINCRBY', P .. 'names', 'd' .. name, 1)
      release(id)
      child_ended(id, false)
      completed[#completed + 1] = id
    elseif kind == 'retry' then
      more = true
      call('HINCRBY', P .. 'q', 'retried', 1)
      local frame = with_id(c, id)
      if tonumber(a) > 0 then
        call('HDEL', P .. 'where', id)
        call('HSET', P .. 'jobs', id, b .. '\n' .. frame)
        call('ZADD', P .. 'delayed', text(now + a), id)
        soon(now + a)
      else
        push_one(b, id, frame)
      end
      tell('retried', id, name)
    elseif kind == 'dead' then
      bury(b, id, with_id(c, id), a)
    else
      more = true
      push_one(b, id, with_id(c, id))
    end
  end
end
if ended > 0 then
  local rest = {}
  for _, index in ipairs(lease_indexes(lease)) do
    if left[index] then rest[#rest + 1] = string.char(math.floor(index / 256), index % 256) end
  end
  lease_keep(token, lease, table.concat(rest))
  call('HINCRBY', P .. 'q', 'active', -ended)
  finish(lease.number, lease.chunk, ended)
  if #completed > 0 then tell('completed', table.concat(completed, ' ')) end
  if more then wake() end
end
return { text(now), 1 }
