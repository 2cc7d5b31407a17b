-- Gives a session the key that guests type, unless another one has it or too many are held.
-- KEYS: key -> session, when each is let go of. ARGV: key, session, how long it is kept, how many may be held.
-- Returns what came of it.
local sessions, ends = KEYS[1], KEYS[2]
local key, session, life, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, late in ipairs(redis.call('ZRANGE', ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)) do
    redis.call('HDEL', sessions, late)
    redis.call('ZREM', ends, late)
end
local holder = redis.call('HGET', sessions, key)
if holder and holder ~= session then return 'taken' end
if not holder and redis.call('ZCARD', ends) >= most then return 'full' end
redis.call('HSET', sessions, key, session)
redis.call('ZADD', ends, now + life, key)
for _, all in ipairs(KEYS) do redis.call('PEXPIRE', all, life) end
return 'held'
