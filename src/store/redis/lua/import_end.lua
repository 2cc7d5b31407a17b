-- Gives a stream the end it had where its newest entry is gone. KEYS: stream. ARGV: the number.
local number = tonumber(ARGV[1])
if number > ends(KEYS[1]) then
    redis.call('XADD', KEYS[1], id_of(number), 'e', '')
    redis.call('XDEL', KEYS[1], id_of(number))
end
