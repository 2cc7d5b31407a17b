-- Reads on from a place. Answers where that is, whether the place could be resumed from, then sequence and
-- message of each entry.
-- KEYS: stream, ids. ARGV: 'start', 'end', 'sequence' or 'id', the place, entries, bytes.
local stream, ids = KEYS[1], KEYS[2]
local way, most, bytes = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local head, low = ends(stream)
local from, recovered = low, 1
if way == 'end' then
    from = head
elseif way ~= 'start' then
    local place
    if way == 'sequence' then
        place = tonumber(ARGV[2])
    else
        place = tonumber(redis.call('HGET', ids, ARGV[2]) or nil)
    end
    if place and place >= low and place <= head then from = place else recovered = 0 end
end

local answer, last, size = {from, recovered}, from, 0
while #answer < 2 + 2 * most and size < bytes do
    -- Some at a time: big ones must not all be read where few are told.
    local entries = redis.call('XRANGE', stream, id_of(last + 1), '+', 'COUNT', 50)
    if #entries == 0 then break end
    for _, entry in ipairs(entries) do
        local message = field_of(entry, 'e') or ''
        size = size + #message
        if #answer >= 2 + 2 * most or (size > bytes and #answer > 2) then return answer end
        last = sequence_of(entry[1])
        answer[#answer + 1] = last
        answer[#answer + 1] = message
    end
end
return answer
