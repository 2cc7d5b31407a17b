-- Sessions whose owner is none of these.
-- ARGV: how many at most, then owners.
local alive = {}
for at = 2, #ARGV do alive[ARGV[at]] = true end
local found, most = {}, tonumber(ARGV[1])
local all = redis.call('HGETALL', homes)
for at = 1, #all, 2 do
    if #found >= 2 * most then break end
    local owner = string.match(all[at + 1], '^(%S*) ')
    if not alive[owner] and not is_late(all[at]) then
        found[#found + 1] = all[at]
        found[#found + 1] = owner
    end
end
return found
