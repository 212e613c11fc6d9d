-- Shared: rate limits, a bucket of tokens each. Needs lanes.lua, time.lua.
-- A limit is "tokens milliseconds burst": so many in so long, and at most so many at once. '' is that of the queue, '*' that
-- of each group that has none of its own; a bucket is "tokens time".
local function limit_of(group)
  local limit = call('HGET', P .. 'limits', group)
  if not limit and group ~= '' then limit = call('HGET', P .. 'limits', '*') end
  return limit
end

-- How many jobs may start now, and after how many milliseconds one more may.
local function allowance(group, want)
  local limit = limit_of(group)
  if not limit then return want, 0 end
  local rate, per, burst = string.match(limit, '^(%S+) (%S+) (%S+)$')
  rate, per, burst = tonumber(rate), tonumber(per), tonumber(burst)
  local bucket = call('HGET', P .. 'buckets', group)
  local tokens, at = burst, now
  if bucket then
    tokens, at = string.match(bucket, '^(%S+) (%S+)$')
    at = tonumber(at)
    tokens = math.min(burst, tonumber(tokens) + math.max(0, now - at) * rate / per)
  end
  local n = math.min(want, math.floor(tokens + 1e-9))
  if n > 0 then return n, 0, tokens end
  return 0, math.max(1, math.ceil((1 - tokens) * per / rate)), tokens
end

local function spend(group, n, tokens)
  if tokens then call('HSET', P .. 'buckets', group, string.format('%.6f %.0f', tokens - n, now)) end
end
