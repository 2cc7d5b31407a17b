-- Adds an API key; answers 'ok' or what is in the way.
-- KEYS: group, keys, those that were revoked. ARGV: told, id, key, how many may be good.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'group' end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 'key id' end
if redis.call('HLEN', KEYS[2]) - redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('PUBLISH', 'pl:accounts', ARGV[1])
return 'ok'
