-- Lets go of the oldest receipts of a chain, with the statement that stands for them; answers whether it did,
-- which it does not when somebody else let go of some meanwhile.
-- KEYS: chain, ids, cut. ARGV: number of the oldest, number of the last that goes, time, statement, then the ids.
local chain, ids, cut = KEYS[1], KEYS[2], KEYS[3]
local oldest = redis.call('XRANGE', chain, '-', '+', 'COUNT', 1)[1]
if not oldest or oldest[1] ~= ARGV[1] .. '-0' then return 0 end
redis.call('HSET', cut, 'count', ARGV[2], 'at', ARGV[3], 'line', ARGV[4])
for at = 5, #ARGV do redis.call('HDEL', ids, ARGV[at]) end
redis.call('XTRIM', chain, 'MINID', string.format('%.0f-0', tonumber(ARGV[2]) + 1))
return 1
