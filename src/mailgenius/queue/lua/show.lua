--- include lanes time events frames dead leases find
-- Where a job is, and what is known of it. Changes nothing.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 id
-- Gives {state ('': neither waiting nor active nor kept as failed); its bytes; when due or failed; progress; error; worker;
--   result ('': none kept); lines of its log; children not ended; children that failed}.
local id = ARGV[2]
local state, frame, at, _, _, worker = find(id)
return { state or '', frame or '', (state ~= 'waiting' and state ~= 'active') and at or '',
  call('HGET', P .. 'progress', id) or '', call('HGET', P .. 'errors', id) or '', worker or '',
  call('GET', P .. 'r:' .. id) or '', call('LRANGE', P .. 'log:' .. id, 0, -1),
  call('HGET', P .. 'flow_left', id) or 0, call('HGET', P .. 'flow_failed', id) or 0 }
