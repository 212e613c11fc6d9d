-- Shared: what a caller was told, so that a call that is repeated because its reply was lost changes nothing twice.
-- Needs lanes.lua, time.lua. A caller counts its calls; only its latest can be repeated.
local function told(caller, count)
  local last = call('HGET', P .. 'told', caller)
  if last and string.match(last, '^(%S+)') == count then return cjson.decode(string.match(last, ' (.*)$')) end
end

local function remember(caller, count, reply, milliseconds)
  call('HSET', P .. 'told', caller, count .. ' ' .. cjson.encode(reply))
  call('ZADD', P .. 'told_ends', text(now + milliseconds), caller)
end
