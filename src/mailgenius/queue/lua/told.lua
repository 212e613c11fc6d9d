-- Shared: what a caller was told, so that a call that is repeated because its reply was lost changes nothing twice.
-- Needs lanes.lua, time.lua. A caller counts its calls; only its latest can be repeated. An entry is "count until reply".
local told_until = 0

local function told(caller, count)
  local last = call('HGET', P .. 'told', caller)
  if not last then return end
  local number, ends, reply = string.match(last, '^(%S+) (%S+) (.*)$')
  told_until = tonumber(ends)
  if number ~= count then return end
  local words = {}
  for word in string.gmatch(reply, '%S+') do words[#words + 1] = word end
  return words
end

local function remember(caller, count, reply, milliseconds)
  if told_until - now < tonumber(milliseconds) then
    told_until = now + 2 * milliseconds
    call('ZADD', P .. 'told_ends', text(told_until), caller)
  end
  call('HSET', P .. 'told', caller, table.concat({ count, text(told_until), unpack(reply) }, ' '))
end
