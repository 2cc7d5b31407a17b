-- Notes when an API key was used, unless a later time is known. KEYS: keys, used. ARGV: id, when.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
    and tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '-1') < tonumber(ARGV[2])
then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
