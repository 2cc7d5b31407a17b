-- Writes a sink if nothing changed in its group since its sinks were read; answers whether it did.
-- KEYS: sinks, lanes, events. ARGV: sink, its row, names of lanes of events and records or '' where they stay as
-- they are, then names and rows as they were read.
local sinks, lanes, events = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HLEN', sinks) ~= (#ARGV - 4) / 2 then return 0 end
for at = 5, #ARGV, 2 do
    if redis.call('HGET', sinks, ARGV[at]) ~= ARGV[at + 1] then return 0 end
end
-- Before the first write, since it may find that the stream is somebody else's.
local head = ends(events)
redis.call('HSET', sinks, ARGV[1], ARGV[2])
if ARGV[3] ~= '' then
    redis.call('HSETNX', lanes, ARGV[3], string.format('%.0f', head))
    redis.call('HSETNX', lanes, ARGV[4], '0')
    redis.call('HDEL', lanes, ARGV[3] .. ':retry', ARGV[4] .. ':retry')
end
return 1
