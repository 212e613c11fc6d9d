--- include lanes time told
-- Adds jobs that need nothing but their place: any number of sections, each of one lane.
-- KEYS  1 the queue ({...}:q); see docs/design/queue.md for those beside it: lanes, c:*, ring:*, ready, wake, told, names
-- ARGV  1 time (tests)   2 caller   3 number of its call   4 milliseconds to remember it
--       5 most waiting jobs (0: any number)   6 names; then each name and how many jobs it has
--       then for each section: lane; how many jobs; the jobs
-- Gives {time; for each section: lane's number, first position as text}, or {time, false, waiting} if the queue is full.
local before = told(ARGV[2], ARGV[3])
if before then return before end
local most, names = tonumber(ARGV[5]), tonumber(ARGV[6])
local at, reply = 7 + 2 * names, { text(now) }
if most > 0 then
  local waiting, added = tonumber(call('HGET', P .. 'q', 'waiting') or 0), 0
  for i = 8, 6 + 2 * names, 2 do added = added + ARGV[i] end
  if waiting + added > most then return { text(now), false, waiting } end
end
while at < #ARGV do
  local n = tonumber(ARGV[at + 1])
  local number, position = push(ARGV[at], ARGV, at + 2, at + 1 + n)
  reply[#reply + 1], reply[#reply + 2] = number, text(position)
  at = at + 2 + n
end
for i = 7, 5 + 2 * names, 2 do call('HINCRBY', P .. 'names', 'a' .. ARGV[i], ARGV[i + 1]) end
remember(ARGV[2], ARGV[3], reply, ARGV[4])
wake()
return reply
