--- include lanes time events frames dead leases mend find
-- Keeps the leases of a worker, and does what is due.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 worker   3 milliseconds of the leases   4.. tokens
-- Gives {time; tokens that were lost; ids of jobs that are to be cancelled}.
local lost = {}
for i = 4, #ARGV do
  local lease = lease_read(ARGV[i])
  if lease and lease.worker == ARGV[2] then
    call('ZADD', P .. 'leases', text(now + ARGV[3]), ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
mend()
local cancelled = {}
for _, id in ipairs(call('SMEMBERS', P .. 'cancelled')) do
  if find(id) == 'active' then
    cancelled[#cancelled + 1] = id
  else -- it ended before its worker heard of it
    call('SREM', P .. 'cancelled', id)
  end
end
return { text(now), lost, cancelled }
