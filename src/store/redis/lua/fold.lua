-- Writes the records that events became and the place behind them, if the log was folded up to the place that
-- the folder had read; answers with the place that holds then.
-- KEYS: place, records, facts, created, open, ended, then the indices that the records name.
-- ARGV: the place read, the new place, then of each record: session, whether its record was there, record, facts,
-- its place in indices, whether it has ended, how many indices are its own, and their places in KEYS.
local place, records, facts, created, open, ended = unpack(KEYS, 1, 6)
local folded = tonumber(redis.call('GET', place) or '0')
if folded ~= tonumber(ARGV[1]) then return folded end
-- A key of the wrong type fails the fold before its first write.
redis.call('HLEN', records)
redis.call('HLEN', facts)
for at = 4, #KEYS do redis.call('ZCARD', KEYS[at]) end

local at = 3
while at <= #ARGV do
    local session, known, record, fact, member, over, own = unpack(ARGV, at, at + 6)
    at = at + 7
    -- One that was let go of meanwhile does not come back.
    if known == '0' or redis.call('HEXISTS', records, session) == 1 then
        redis.call('HSET', records, session, record)
        redis.call('HSET', facts, session, fact)
        redis.call('ZADD', created, 0, member)
        for index = at, at + tonumber(own) - 1 do
            redis.call('ZADD', KEYS[tonumber(ARGV[index])], 0, member)
        end
        if over == '0' then
            redis.call('ZADD', open, 0, member)
        else
            redis.call('ZREM', open, member)
            if not redis.call('ZSCORE', ended, member) then
                local newest = tonumber(redis.call('ZREVRANGE', ended, 0, 0, 'WITHSCORES')[2] or '0')
                redis.call('ZADD', ended, string.format('%.0f', newest + 1), member)
            end
        end
    end
    at = at + tonumber(own)
end
redis.call('SET', place, ARGV[2])
return tonumber(ARGV[2])
