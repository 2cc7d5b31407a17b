-- A session gives its key back.
-- KEYS: key -> session, when each is let go of. ARGV: key, session.
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
end
