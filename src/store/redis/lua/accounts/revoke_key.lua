-- Revokes an API key for good; answers whether there is one. KEYS: keys, revoked. ARGV: told, id, when.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3])
redis.call('PUBLISH', 'pl:accounts', ARGV[1])
return 1
