-- Reads one agent. ARGV: 'id', 'address' or 'partner', and which.
local agent = ARGV[2]
if ARGV[1] == 'address' then agent = redis.call('HGET', addresses, agent) end
if ARGV[1] == 'partner' then agent = redis.call('HGET', partners, agent) end
return agent and row_of(agent)
