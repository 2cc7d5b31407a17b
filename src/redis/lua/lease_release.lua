-- Gives a lease back if it is still its owner's. KEYS: owner. ARGV: who.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
