-- The owner has ended a session: it is let go of, and known to be over for a while.
-- ARGV: session, owner, for how long it is known, how many late ones to let go of, what lists show.
local id, owner, known = unpack(ARGV)
sweep(tonumber(ARGV[4]))
local home = home_of(id)
if home and home.owner ~= owner then return 0 end
forget(id)
redis.call('ZADD', over, now + tonumber(known), id)
redis.call('HSET', last, id, owner .. ' ' .. ARGV[5])
keep(tonumber(known))
return home and 1 or 0
