-- Reads messages of a feed, newest first, or oldest first where only what they follow is named; nothing where
-- a post to read on from is not in this feed.
-- KEYS: posts, feed. ARGV: id of the post before them or '', id of the post behind them or '', entries.
local function place_of(id)
    if id == '' then return nil, true end
    local number, feed = string.match(redis.call('HGET', KEYS[1], id) or '', '^(%d+) (.*)$')
    return number and '(' .. number .. '-0', feed == KEYS[2]
end
local after, here = place_of(ARGV[1])
local before, there = place_of(ARGV[2])
if not (here and there) then return false end
local entries
if after and not before then
    entries = redis.call('XRANGE', KEYS[2], after, '+', 'COUNT', ARGV[3])
else
    entries = redis.call('XREVRANGE', KEYS[2], before or '+', after or '-', 'COUNT', ARGV[3])
end
local answer = {}
for at, entry in ipairs(entries) do answer[at] = field_of(entry, 'e') end
return answer
