-- Removes a sink with its lanes and dead letters; answers whether there was one.
-- KEYS: sinks, lanes, dead letters, their times. ARGV: sink, names of its lanes.
for at = 2, #ARGV do
    local lane = ARGV[at]
    redis.call('HDEL', KEYS[2], lane, lane .. ':failures', lane .. ':since', lane .. ':retry', lane .. ':error')
end
redis.call('DEL', KEYS[3], KEYS[4])
return redis.call('HDEL', KEYS[1], ARGV[1])
