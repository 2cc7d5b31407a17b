-- Forgets dead letters from before a time, so many at most; answers how many.
-- KEYS: dead letters, their times. ARGV: time, how many.
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, number in ipairs(old) do
    redis.call('XDEL', KEYS[1], number .. '-0')
    redis.call('ZREM', KEYS[2], number)
end
return #old
