-- Remembers a call and forgets the oldest: those beyond the number, and those from before a time. A group that
-- makes no more calls has none left after their day.
-- KEYS: calls, order. ARGV: name, call, the time, calls, seconds of a call's day.
local calls, order = KEYS[1], KEYS[2]
local newest = tonumber(redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2] or '0')
redis.call('HSET', calls, ARGV[1], ARGV[2])
redis.call('ZADD', order, string.format('%.0f', newest + 1), ARGV[1])
local beyond = redis.call('ZCARD', order) - tonumber(ARGV[4])
for at, name in ipairs(redis.call('ZRANGE', order, 0, 99)) do
    local made = tonumber(string.match(redis.call('HGET', calls, name) or '', '^%d+') or '0')
    if at > beyond and made >= tonumber(ARGV[3]) then break end
    redis.call('HDEL', calls, name)
    redis.call('ZREM', order, name)
end
redis.call('EXPIRE', calls, ARGV[5])
redis.call('EXPIRE', order, ARGV[5])
