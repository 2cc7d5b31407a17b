-- Renews a lease in the hands of its owner; answers whether it was in them. KEYS: owner. ARGV: who, milliseconds.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
