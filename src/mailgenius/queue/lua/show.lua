--- include lanes time events frames dead leases find
-- Where a job is, and what is known of it.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 id
-- Gives {state ('': neither waiting nor active nor kept); its bytes; when due or failed; progress; error; worker;
--   result ('': none kept); lines of its log}.
local id = ARGV[2]
local state, frame, at, _, _, worker = find(id)
return { state or '', frame or '', (state ~= 'waiting' and state ~= 'active') and at or '',
  call('HGET', P .. 'progress', id) or '', call('HGET', P .. 'errors', id) or '', worker or '',
  call('GET', P .. 'r:' .. id) or '', call('LRANGE', P .. 'log:' .. id, 0, -1) }
