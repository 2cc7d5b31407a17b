-- Reads the events of one session behind a sequence: sequence and message of each.
-- KEYS: stream, the session's sequences. ARGV: the sequence, entries, bytes.
local answer, size = {}, 0
local after = string.format('(%.0f', tonumber(ARGV[1]))
for _, number in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], after, '+inf', 'LIMIT', 0, ARGV[2])) do
    local id = id_of(tonumber(number))
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
        local message = field_of(entry, 'e') or ''
        size = size + #message
        if size > tonumber(ARGV[3]) and #answer > 0 then break end
        answer[#answer + 1] = tonumber(number)
        answer[#answer + 1] = message
    end
end
return answer
