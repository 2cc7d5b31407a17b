-- Removes an agent, ends its tokens and lets go of what it follows; answers whether there was one.
-- KEYS: what it follows last. ARGV: told, id.
local agent = ARGV[2]
local before = row_of(agent)
redis.call('DEL', KEYS[8])
if before then
    revoke(agent)
    local _, text = parts_of(before[2])
    local old = cjson.decode(text)
    redis.call('HDEL', addresses, old.address)
    if old.partnerUserId then redis.call('HDEL', partners, old.partnerUserId) end
    redis.call('HDEL', passwords, agent)
    redis.call('ZREM', names, agent)
    redis.call('HDEL', agents, agent)
    tell(agent)
end
return before and 1 or 0
