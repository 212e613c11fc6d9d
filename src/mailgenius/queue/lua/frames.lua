-- Shared: a job as bytes. 0 format; 1 attempts made; 2 stalls; 3-8 when it was added; 9 length of its id, 0 if its place is
-- its id; the id; then what only clients read. One that is cut off is no reason to fail.
local function frame_id(frame)
  local n = string.byte(frame, 10) or 0
  if n > 0 then return string.sub(frame, 11, 10 + n) end
end

local function with_id(frame, id)
  if #frame < 10 or string.byte(frame, 10) > 0 then return frame end
  return string.sub(frame, 1, 9) .. string.char(#id) .. id .. string.sub(frame, 11)
end

local function with_stalls(frame, stalls)
  return string.sub(frame, 1, 2) .. string.char(math.min(stalls, 255)) .. string.sub(frame, 4)
end

local function frame_name(frame)
  local at = 11 + (string.byte(frame, 10) or 0)
  return string.sub(frame, at + 1, at + (string.byte(frame, at) or 0))
end
