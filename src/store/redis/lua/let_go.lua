-- Lets go of records that are still as they were read; answers of each whether it went.
-- KEYS: records, facts, created, ended, then the indices that the records name.
-- ARGV: of each record: session, record or '' where only its place is left, its place in indices, how many
-- indices are its own, and their places in KEYS.
local records, facts, created, ended = unpack(KEYS, 1, 4)
-- The newest place stays, so that its number is not given again.
local newest = redis.call('ZREVRANGE', ended, 0, 0)[1]
local answer, at = {}, 1
while at <= #ARGV do
    local session, record, member, own = unpack(ARGV, at, at + 3)
    at = at + 4
    local same = (redis.call('HGET', records, session) or '') == record
    if same then
        redis.call('HDEL', records, session)
        redis.call('HDEL', facts, session)
        redis.call('ZREM', created, member)
        for index = at, at + tonumber(own) - 1 do
            redis.call('ZREM', KEYS[tonumber(ARGV[index])], member)
        end
        if member ~= newest then redis.call('ZREM', ended, member) end
    end
    answer[#answer + 1] = same and record ~= '' and 1 or 0
    at = at + tonumber(own)
end
return answer
