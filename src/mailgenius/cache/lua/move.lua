-- Moves a value to another name, over what is there. KEYS: from, to. ARGV: milliseconds it lives there, -1: for good.
-- 1: there was one.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if KEYS[1] ~= KEYS[2] then redis.call('RENAME', KEYS[1], KEYS[2]) end
if ARGV[1] == '-1' then
    redis.call('PERSIST', KEYS[2])
else
    redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return 1
