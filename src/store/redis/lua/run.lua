-- Writes a run of the sync and forgets the oldest.
-- KEYS: fence, places of runs, rows of runs, places of open runs, place of the newest that was scheduled.
-- ARGV: lease, place, row, '1' while it runs, '1' if its schedule caused it, runs that are kept.
fence(KEYS[1], ARGV[1])
local places, rows, open, scheduled, place = KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[2]
redis.call('ZADD', places, 0, place)
redis.call('HSET', rows, place, ARGV[3])
if ARGV[4] == '1' then redis.call('SADD', open, place) else redis.call('SREM', open, place) end
if ARGV[5] == '1' and place > (redis.call('GET', scheduled) or '') then redis.call('SET', scheduled, place) end
for _, old in ipairs(redis.call('ZRANGE', places, 0, -(tonumber(ARGV[6]) + 1))) do
    redis.call('ZREM', places, old)
    redis.call('HDEL', rows, old)
    redis.call('SREM', open, old)
end
