-- Appends events, all or none, and answers with their sequences.
-- KEYS: stream, ids, posts, posted, leads, emails, then those of sessions and feeds that the events name.
-- ARGV: the newest sequence that is known outside, posts that a feed keeps, the channel, then of each event:
-- id, kind, session as text, message without its sequence, its session's place in KEYS or 0, its feed's place
-- in KEYS or 0, 'post' or 'lead' or '', and what there may be but one of (agent on session, or email) or ''.
local stream, ids, posts, posted, leads, emails = unpack(KEYS, 1, 6)
local kept, live = tonumber(ARGV[2]), ARGV[3]

-- Never a sequence twice, even where Redis lost what it had.
local head = math.max(ends(stream), tonumber(ARGV[1]))

-- The field `sequence` of the message: number 2, a varint. A message goes on wherever another field follows.
local function sequence_field(sequence)
    local bytes = '\16'
    while sequence >= 128 do
        bytes = bytes .. string.char(sequence % 128 + 128)
        sequence = math.floor(sequence / 128)
    end
    return bytes .. string.char(sequence)
end

-- First everything is looked at, so that a key of the wrong type fails the append before its first write.
redis.call('XLEN', leads)
local fresh, answers, now = {}, {}, {ids = {}, posts = {}, posted = {}, emails = {}}
local function known(kind, key, member)
    return now[kind][member] or tonumber(string.match(redis.call('HGET', key, member) or '', '^%d+'))
end
for at = 4, #ARGV, 8 do
    local event = {
        id = ARGV[at], kind = ARGV[at + 1], session = ARGV[at + 2], message = ARGV[at + 3],
        timeline = KEYS[tonumber(ARGV[at + 4])], feed = KEYS[tonumber(ARGV[at + 5])],
        once = ARGV[at + 6], only = ARGV[at + 7],
    }
    if event.timeline then redis.call('ZCARD', event.timeline) end
    if event.feed then redis.call('XLEN', event.feed) end
    local there
    if event.once == 'post' then
        there = known('posts', posts, event.id)
            or (event.only ~= '' and known('posted', posted, event.only))
    elseif event.once == 'lead' then
        there = known('emails', emails, event.only)
    end
    there = there or known('ids', ids, event.id)
    if not there then
        head = head + 1
        there = head
        event.sequence = head
        fresh[#fresh + 1] = event
        now.ids[event.id] = head
        if event.feed then
            now.posts[event.id] = head
            if event.only ~= '' then now.posted[event.only] = head end
        elseif event.once == 'lead' then
            now.emails[event.only] = head
        end
    end
    answers[#answers + 1] = there
end

for _, event in ipairs(fresh) do
    local number, id = string.format('%.0f', event.sequence), id_of(event.sequence)
    local message = event.message .. sequence_field(event.sequence)
    redis.call('XADD', stream, id, 'e', message, 'k', event.kind, 's', event.session)
    redis.call('HSET', ids, event.id, number)
    if event.timeline then redis.call('ZADD', event.timeline, number, number) end
    if event.feed then
        redis.call('XADD', event.feed, id, 'e', message, 'i', event.id, 'o', event.only)
        redis.call('HSET', posts, event.id, number .. ' ' .. event.feed)
        if event.only ~= '' then redis.call('HSET', posted, event.only, number) end
        local beyond = redis.call('XLEN', event.feed) - kept
        if beyond > 0 then
            for _, entry in ipairs(redis.call('XRANGE', event.feed, '-', '+', 'COUNT', beyond)) do
                redis.call('HDEL', posts, field_of(entry, 'i'))
                redis.call('HDEL', posted, field_of(entry, 'o'))
            end
            redis.call('XTRIM', event.feed, 'MAXLEN', kept)
        end
    elseif event.once == 'lead' then
        redis.call('XADD', leads, id, 'e', message)
        redis.call('HSET', emails, event.only, number)
    end
    redis.call('PUBLISH', live, message)
end
return answers
