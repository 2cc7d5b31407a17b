-- Saves a session for its owner.
-- ARGV: session, visitor, owner, its term, text, how long it is kept, how many late ones to let go of, what lists show.
local id, visitor, owner, fence, text, life = unpack(ARGV)
sweep(tonumber(ARGV[7]))
if redis.call('ZSCORE', over, id) then return {'over'} end
local home = home_of(id)
if home and not is_late(id) then
    if home.owner ~= owner then return {'foreign', home.owner} end
    if tonumber(home.fence) > tonumber(fence) then return {'stale'} end
end
redis.call('HSET', texts, id, text)
if ARGV[8] ~= '' then redis.call('HSET', views, id, ARGV[8]) end
settle(id, owner, fence, visitor)
redis.call('ZADD', ends, now + tonumber(life), id)
if visitor ~= '' then redis.call('HSET', of, visitor, id) end
keep(tonumber(life))
return {'kept'}
