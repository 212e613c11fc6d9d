--- include lanes time events frames dead leases
-- Gives back leases of a worker that has died or ended, as told by somebody who knows.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 worker
--       3 token; or '': those of its last call, of whose reply it may not have heard. It gets no more from then on, not even
--         by a call that is still under way.
--       4 indexes of the jobs it had begun   5 of those it had done, and not said so; both as big-endian 16 bit numbers
-- Gives how many jobs wait again; a rest waits as soon as somebody calls.
local worker, tokens = ARGV[2], ARGV[3]
if tokens == '' then
  local last = call('HGET', P .. 'workers', worker)
  tokens = last and string.match(last, ' (.*)$') or ''
  call('HSET', P .. 'workers', worker, '9007199254740991 ')
  call('ZADD', P .. 'told_ends', text(now + 3600000), worker)
  if tonumber(call('HGET', P .. 'q', 'waiting') or 0) > 0 then wake() end
end
local function set(indexes)
  local found = {}
  for i = 1, #indexes, 2 do found[string.byte(indexes, i) * 256 + string.byte(indexes, i + 1)] = true end
  return found
end
local waiting, most = 0, MOST
for token in string.gmatch(tokens, '%S+') do
  local lease = lease_read(token)
  if lease and lease.worker == worker then
    local more, n = give_back(token, set(ARGV[4]), set(ARGV[5]), math.max(0, most))
    waiting, most = waiting + more, most - n
  end
end
return waiting
