-- Adds an API key; answers 'ok' or what is in the way. KEYS: group, keys. ARGV: told, id, key.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'group' end
if redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3]) == 0 then return 'key id' end
redis.call('PUBLISH', 'pl:accounts', ARGV[1])
return 'ok'
