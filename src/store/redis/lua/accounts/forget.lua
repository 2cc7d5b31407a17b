-- Moves the time before which no call is remembered. KEYS: the time. ARGV: the new one.
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
