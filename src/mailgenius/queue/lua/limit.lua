--- include lanes time
-- Sets or ends a rate limit. Lanes that an earlier one holds back are looked at anew, a bounded number at a time.
-- KEYS  1 the queue   ARGV  1 time (tests)   2 its group ('': the queue, '*': each)   3 "tokens milliseconds burst" ('': none)
-- Gives 1 if more lanes are to be looked at: call it again.
local group, numbers = ARGV[2], {}
if ARGV[3] == '' then
  call('HDEL', P .. 'limits', group)
  call('HDEL', P .. 'buckets', group)
else
  call('HSET', P .. 'limits', group, ARGV[3])
end
if group == '*' then
  numbers = call('ZRANGEBYSCORE', P .. 'held', '(' .. text(now), '(inf', 'LIMIT', 0, 1000)
elseif group ~= '' then
  for priority in string.gmatch('0123456789A', '.') do
    local number = call('HGET', P .. 'lanes', '#' .. priority .. ':' .. group)
    local held = number and call('ZSCORE', P .. 'held', number)
    if held and held ~= 'inf' then numbers[#numbers + 1] = number end
  end
end
for _, number in ipairs(numbers) do call('ZADD', P .. 'held', text(now), number) end
if numbers[1] then soon(now) end
wake()
return #numbers == 1000 and 1 or 0
