-- Greater versions of visitors were told than are kept of them: their homes go on above those.
-- KEYS: visitors (visitor -> node:epoch:version:snapshot), the greatest version of the group.
-- ARGV: group, then for each: visitor, version.
local visitors, group = KEYS[1], ARGV[1]
local stored = redis.call('GET', KEYS[2]) or '0'
local floor = stored
for i = 2, #ARGV, 2 do
  local visitor, version = ARGV[i], ARGV[i + 1]
  local found = redis.call('HGET', visitors, visitor)
  if found then
    local home, term, known, rest = string.match(found, '^(%x+):(%d+):(%d+):()')
    if tonumber(version) > tonumber(known) then
      redis.call('HSET', visitors, visitor, home .. ':' .. term .. ':' .. version .. ':' .. string.sub(found, rest))
      redis.call('PUBLISH', 'pl:node:' .. home, 'r ' .. group .. ' ' .. visitor .. ' ' .. version)
    end
  end
  if tonumber(version) > tonumber(floor) then floor = version end
end
if floor ~= stored then redis.call('SET', KEYS[2], floor) end
