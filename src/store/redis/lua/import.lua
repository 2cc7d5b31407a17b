-- Adds those entries to a stream that lie behind its end.
-- KEYS: stream. ARGV: of each entry its number, how many fields and values follow, and these.
local head, at = ends(KEYS[1]), 1
while at <= #ARGV do
    local number, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    if number > head then
        redis.call('XADD', KEYS[1], id_of(number), unpack(ARGV, at + 2, at + 1 + count))
    end
    at = at + 2 + count
end
