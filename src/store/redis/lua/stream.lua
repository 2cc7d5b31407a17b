-- What every script of the log knows: sequences are the ids of the group's stream, `<sequence>-0`.

-- Beyond this an id is no sequence but a time of the clock, in milliseconds since 1970: a million events a
-- second would take days to come here, and whoever adds to a stream without naming an id is decades past it.
local BEYOND = 1000000000000

-- The sequence that an id carries.
local function sequence_of(id)
    return tonumber(string.match(id, '^%d+'))
end

-- The id of a sequence.
local function id_of(sequence)
    return string.format('%.0f-0', sequence)
end

-- The newest sequence that was given, and the one before the oldest that is kept.
local function ends(stream)
    if redis.call('EXISTS', stream) == 0 then return 0, 0 end
    local info = redis.call('XINFO', 'STREAM', stream)
    local head, low = 0, nil
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            head = sequence_of(info[at + 1])
        elseif info[at] == 'first-entry' and info[at + 1] then
            low = sequence_of(info[at + 1][1]) - 1
        end
    end
    if head >= BEYOND then
        error({err = 'FOREIGN ' .. stream .. ' was written by somebody else'})
    end
    return head, low or head
end

-- The value of a field of an entry.
local function field_of(entry, name)
    for at = 1, #entry[2], 2 do
        if entry[2][at] == name then return entry[2][at + 1] end
    end
    return nil
end
