--- include lanes time events
-- Notes what jobs tell of themselves while they are worked on.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 most lines of a log   3 milliseconds that a log is kept after its last line
--       then three for each note: id; progress | log; what
-- Gives how many there were.
for at = 4, #ARGV, 3 do
  local id, what = ARGV[at], ARGV[at + 2]
  if ARGV[at + 1] == 'progress' then
    call('HSET', P .. 'progress', id, what)
    tell('progress', id, what)
  else
    local log = P .. 'log:' .. id
    call('RPUSH', log, what)
    call('LTRIM', log, -ARGV[2], -1)
    call('PEXPIRE', log, ARGV[3])
  end
end
return (#ARGV - 3) / 3
