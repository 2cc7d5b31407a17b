-- What every script of a group's agents knows.
-- KEYS of each: group, agents, names, passwords, generations, addresses, partners, then its own. ARGV of those
-- that write: what all nodes are told of first.
local group, agents, names, passwords, generations, addresses, partners = unpack(KEYS, 1, 7)

-- An agent as it is: id, description, password or '', generation; false when there is none.
local function row_of(agent)
    local text = redis.call('HGET', agents, agent)
    if not text then return false end
    local password, generation = redis.call('HGET', passwords, agent), redis.call('HGET', generations, agent)
    return {agent, text, password or '', generation or '0'}
end

-- Ends the tokens of an agent, if there is one. Generations outlive their agents.
local function revoke(agent)
    if redis.call('HEXISTS', agents, agent) == 1 then redis.call('HINCRBY', generations, agent, 1) end
end

-- A description apart: when the agent was created, and the rest as JSON.
local function parts_of(text)
    return string.match(text, '^(%d+)\n(.*)$')
end

-- Tells all nodes of an agent, or of all agents ('*').
local function tell(agent)
    redis.call('PUBLISH', 'pl:accounts', ARGV[1] .. agent)
end
