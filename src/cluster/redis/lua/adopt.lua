-- Makes a session that of another owner, if it still is that of the one that is named.
-- ARGV: session, its owner, the owner to be.
local id, from, to = unpack(ARGV)
local home = home_of(id)
if not home or is_late(id) or home.owner ~= from then return false end
local text = redis.call('HGET', texts, id)
if not text then return false end
if from ~= to then settle(id, to, '0', home.visitor) end
return text
