--- include lanes time events frames dead leases find
-- Lets jobs that failed, or that wait for their time, start now.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 failed | delayed   then three for each: id; lane ('': as it is); the job ('': as it is)
-- Gives how many there were.
local n, key = 0, ARGV[2] == 'failed' and 'dead' or 'delayed'
for at = 3, #ARGV, 3 do
  local id, lane, frame = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local record = call('ZSCORE', P .. key, id) and call('HGET', P .. 'jobs', id)
  if record then
    take(id)
    if lane == '' then lane = string.match(record, '^([^\n]*)') end
    if frame == '' then frame = string.match(record, '\n(.*)$') end
    push_one(lane, id, with_id(frame, id))
    if key == 'dead' then call('HINCRBY', P .. 'names', 'x' .. frame_name(frame), -1) end
    n = n + 1
  end
end
if n > 0 then wake() end
return n
