-- Takes out entries of nodes that are no more, and those that were claimed for nobody.
-- KEYS: visitors (visitor -> node:epoch:version:snapshot), the greatest version of the group.
-- ARGV: '1' if only an entry without a snapshot goes, then for each: visitor, the holder (node:epoch).
-- Returns how many went.
local empty, swept = ARGV[1] == '1', 0
local stored = redis.call('GET', KEYS[2]) or '0'
local floor = stored
for i = 2, #ARGV, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry then
    local home, term, version, rest = string.match(entry, '^(%x+):(%d+):(%d+):()')
    if home .. ':' .. term == ARGV[i + 1] and (not empty or rest > #entry) then
      redis.call('HDEL', KEYS[1], ARGV[i])
      if tonumber(version) > tonumber(floor) then floor = version end
      swept = swept + 1
    end
  end
end
if floor ~= stored then redis.call('SET', KEYS[2], floor) end
return swept
