-- The owner and the visitor of a session, and its text if that is asked for.
-- ARGV: session, whether to tell the text.
local id = ARGV[1]
local home = home_of(id)
if not home or is_late(id) then return {} end
if ARGV[2] == '1' then return {home.owner, home.visitor, redis.call('HGET', texts, id)} end
return {home.owner, home.visitor}
