-- Creates an agent or changes its description; answers 'ok' and its row, or what is in the way.
-- ARGV: told, id, address, partner user id or '', description, when.
local agent, address, partner, description, created = unpack(ARGV, 2, 6)
if redis.call('EXISTS', group) == 0 then return {'group', false} end
local owner = redis.call('HGET', addresses, address)
if owner and owner ~= agent then return {'address', false} end
owner = partner ~= '' and redis.call('HGET', partners, partner)
if owner and owner ~= agent then return {'partner user id', false} end

local before = row_of(agent)
if before then
    local text
    created, text = parts_of(before[2])
    local old = cjson.decode(text)
    if old.address ~= address then redis.call('HDEL', addresses, old.address) end
    if old.partnerUserId and old.partnerUserId ~= partner then
        redis.call('HDEL', partners, old.partnerUserId)
    end
end
redis.call('ZADD', names, 0, agent)
redis.call('HSET', agents, agent, created .. '\n' .. description)
redis.call('HSET', addresses, address, agent)
if partner ~= '' then redis.call('HSET', partners, partner, agent) end
tell(agent)
return {'ok', row_of(agent)}
