-- Gives a session that ended its place, one behind the newest, and only one. The newest is never let go of.
-- The places of a group are a sorted set of sessions; its key has the group's hash tag.
local function give_place(places, session)
    if redis.call('ZSCORE', places, session) then return end
    local newest = redis.call('ZREVRANGE', places, 0, 0, 'WITHSCORES')[2]
    redis.call('ZADD', places, string.format('%.0f', tonumber(newest or 0) + 1), session)
end
