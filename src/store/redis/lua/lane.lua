-- Moves a lane from where it is, or notes that it failed there; answers whether it was there.
-- KEYS: fence, lanes, dead letters, their times. ARGV: lease, lane, its place, then one of
-- 'fail', failures, since, retry, error: texts that may be empty;
-- 'move', to;
-- 'bury', to, id, body, time, error, dead letters that are kept.
fence(KEYS[1], ARGV[1])
local lanes, dead, times, lane, from, what = KEYS[2], KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4]
if redis.call('HGET', lanes, lane) ~= from then return 0 end
if what == 'fail' then
    for at, name in ipairs({':failures', ':since', ':retry', ':error'}) do
        local value = ARGV[4 + at]
        if value == '' then
            redis.call('HDEL', lanes, lane .. name)
        else
            redis.call('HSET', lanes, lane .. name, value)
        end
    end
    return 1
end
if tonumber(ARGV[5]) < tonumber(from) then return 0 end
if what == 'bury' then
    local number = ends(dead) + 1
    redis.call('XADD', dead, id_of(number), 'i', ARGV[6], 'b', ARGV[7], 't', ARGV[8], 'x', ARGV[9])
    redis.call('ZADD', times, ARGV[8], string.format('%.0f', number))
    local beyond = redis.call('XLEN', dead) - tonumber(ARGV[10])
    if beyond > 0 then
        for _, entry in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', beyond)) do
            redis.call('ZREM', times, string.format('%.0f', sequence_of(entry[1])))
            redis.call('XDEL', dead, entry[1])
        end
    end
end
redis.call('HSET', lanes, lane, ARGV[5])
redis.call('HDEL', lanes, lane .. ':failures', lane .. ':since', lane .. ':retry', lane .. ':error')
return 1
