--- include lanes time events frames dead leases find
-- Takes jobs out of the queue, and what is kept of ended ones; one that is being worked on is cancelled by its worker.
-- KEYS  1 the queue   ARGV  1 time (tests)   2.. ids
-- Gives for each the state it was in, '' if it is neither waiting nor active nor kept as failed.
local states, removed = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local state, frame = take(id)
  states[#states + 1] = state or ''
  if state == 'active' then
    call('SADD', P .. 'cancelled', id)
  else
    if state then
      removed[#removed + 1] = id
      if state ~= 'failed' then
        child_ended(id, true)
        call('HINCRBY', P .. 'names', 'r' .. frame_name(frame), 1)
      end
      release(id)
      call('HDEL', P .. 'flow_left', id)
      call('SREM', P .. 'flow_strict', id)
      call('HDEL', P .. 'progress', id)
    end
    call('UNLINK', P .. 'log:' .. id, P .. 'r:' .. id)
  end
end
if removed[1] then tell('removed', table.concat(removed, ' ')) end
return states
