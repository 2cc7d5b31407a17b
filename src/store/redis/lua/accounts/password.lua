-- Sets or deletes an agent's password and ends its tokens; answers with its row. ARGV: told, id, password or ''.
local agent, password = ARGV[2], ARGV[3]
if redis.call('HEXISTS', agents, agent) == 0 then return false end
revoke(agent)
if password == '' then
    redis.call('HDEL', passwords, agent)
else
    redis.call('HSET', passwords, agent, password)
end
tell(agent)
return row_of(agent)
