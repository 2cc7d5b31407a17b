-- Counts a wrong try at a door; answers for how many more milliseconds it is locked. A try during a lock does not
-- prolong it, and one whose answer was lost is counted once.
-- KEYS: the tries that still count, or the lock. ARGV: door, the try, tries that lock, within how long, for how long.
local door, wrong, tries, window, lock = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = tonumber(redis.call('ZSCORE', door, 'lock') or '0')
if ends > now then return ends - now end
if ends > 0 then redis.call('DEL', door) end
redis.call('ZREMRANGEBYSCORE', door, '-inf', now - window)
redis.call('ZADD', door, now, wrong)
if redis.call('ZCARD', door) < tries then
    redis.call('PEXPIRE', door, window)
    return 0
end
redis.call('DEL', door)
redis.call('ZADD', door, now + lock, 'lock')
redis.call('PEXPIRE', door, lock)
redis.call('PUBLISH', 'pl:accounts', '!door ' .. ARGV[1] .. ' ' .. ARGV[5])
return lock
