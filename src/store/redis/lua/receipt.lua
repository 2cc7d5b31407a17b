-- Adds a receipt behind the end of its group's chain, if that is still the end it was sealed for.
-- KEYS: chain, ids, end. ARGV: number, hash of the line before, id, session, time, line, hash of the line.
-- Answers 'kept'; or 'there' and the entry that has the id; or 'moved', the next number and the hash before it.
local chain, ids, ended = KEYS[1], KEYS[2], KEYS[3]
local there = redis.call('HGET', ids, ARGV[3])
if there then
    local id = there .. '-0'
    local entry = redis.call('XRANGE', chain, id, id)[1]
    if entry then return {'there', entry} end
end
local last, hash = unpack(redis.call('HMGET', ended, 'number', 'hash'))
local number = tonumber(last or 0) + 1
hash = hash or string.rep('0', 64)
if string.format('%.0f', number) ~= ARGV[1] or hash ~= ARGV[2] then
    return {'moved', string.format('%.0f', number), hash}
end
redis.call('XADD', chain, ARGV[1] .. '-0', 'i', ARGV[3], 's', ARGV[4], 't', ARGV[5], 'l', ARGV[6])
redis.call('HSET', ids, ARGV[3], ARGV[1])
redis.call('HSET', ended, 'number', ARGV[1], 'hash', ARGV[7])
return {'kept'}
