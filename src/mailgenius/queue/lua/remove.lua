--- include lanes time events frames dead leases find
-- Takes jobs out of the queue; one that is being worked on is cancelled by its worker.
-- KEYS  1 the queue   ARGV  1 time (tests)   2.. ids
-- Gives for each the state it was in, '' if there was none.
local states = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local state, frame = take(id)
  states[#states + 1] = state or ''
  if state == 'active' then
    call('SADD', P .. 'cancelled', id)
  elseif state then
    if state ~= 'failed' then
      release(id)
      child_ended(id, true)
      call('HINCRBY', P .. 'names', 'r' .. frame_name(frame), 1)
    end
    call('HDEL', P .. 'flow_left', id)
    call('UNLINK', P .. 'log:' .. id)
    tell('removed', id)
  end
end
return states
