-- Shared: what happened, for those who follow the queue. Needs lanes.lua.
local function tell(kind, ids, more)
  local keep = call('HGET', P .. 'q', 'events')
  if keep ~= '0' then call('XADD', P .. 'events', 'MAXLEN', '~', keep or 10000, '*', 'e', kind, 'i', ids, 'm', more or '') end
end
