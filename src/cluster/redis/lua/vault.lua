-- What every script of saved sessions knows. Of each session there is a text, and its home: the owner (nothing
-- once it was given up), the owner's term, the visitor (nothing where it is nobody's), and whatever a later version
-- says behind a space, which stays as it is.
-- KEYS: texts, homes, sessions of visitors, when each is let go of, those that ended with when that is forgotten,
-- on which nodes they did with what lists show of them, and what lists show of the others.
local texts, homes, of, ends, over, last, views = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function home_of(id)
    local home = redis.call('HGET', homes, id)
    if not home then return nil end
    local owner, fence, visitor, more = string.match(home, '^(%S*) (%d+) (%S*)(.*)$')
    return {owner = owner, fence = fence, visitor = visitor, more = more}
end

local function settle(id, owner, fence, visitor)
    local before = home_of(id)
    redis.call('HSET', homes, id, owner .. ' ' .. fence .. ' ' .. visitor .. (before and before.more or ''))
end

local function forget(id)
    local home = home_of(id)
    if home and home.visitor ~= '' and redis.call('HGET', of, home.visitor) == id then
        redis.call('HDEL', of, home.visitor)
    end
    redis.call('HDEL', texts, id)
    redis.call('HDEL', homes, id)
    redis.call('HDEL', views, id)
    redis.call('ZREM', ends, id)
end

-- Lets go of what was not saved for too long.
local function sweep(most)
    for _, id in ipairs(redis.call('ZRANGE', ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do forget(id) end
    for _, id in ipairs(redis.call('ZRANGE', over, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
        redis.call('ZREM', over, id)
        redis.call('HDEL', last, id)
    end
end

-- Nothing of a group is kept for ever.
local function keep(millis)
    for _, key in ipairs(KEYS) do
        if redis.call('PTTL', key) < millis then redis.call('PEXPIRE', key, millis) end
    end
end

-- Whether it is to be let go of already.
local function is_late(id)
    local until_then = redis.call('ZSCORE', ends, id)
    return not until_then or tonumber(until_then) <= now
end
