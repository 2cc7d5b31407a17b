-- Lets go of the entries up to a sequence, and of what leads to them; answers how many they were.
-- KEYS: stream, ids, then sequences of sessions. ARGV: the sequence, then ids of events.
local low = tonumber(ARGV[1])
for at = 2, #ARGV do
    local sequence = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or nil)
    -- One that was appended again is another one.
    if sequence and sequence <= low then redis.call('HDEL', KEYS[2], ARGV[at]) end
end
for at = 3, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', ARGV[1])
end
return redis.call('XTRIM', KEYS[1], 'MINID', id_of(low + 1))
