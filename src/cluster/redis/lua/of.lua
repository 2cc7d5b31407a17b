-- The session of a visitor that was saved last.
-- ARGV: visitor.
local id = redis.call('HGET', of, ARGV[1])
if not id or is_late(id) then return false end
return id
