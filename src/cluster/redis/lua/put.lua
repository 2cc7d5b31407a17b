-- Publishes visitors of one group. Each is stored, or taken out if it is absent, and told to whoever listens.
-- KEYS: visitors (visitor -> node:epoch:version:snapshot), the greatest version of the group.
-- ARGV: channel of the group, node, epoch, group, then for each: visitor, version, entry, '1' if it is absent, the
--       holder that may be taken over (node:epoch, or empty).
-- Returns for each: '' if it was taken, '>version' if it was told in that version and goes on above it, or the holder
-- (node:epoch) who alone may speak for it.
local visitors, floor_key = KEYS[1], KEYS[2]
local channel, node, epoch, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stored = redis.call('GET', floor_key) or '0'
local floor, answer = stored, {}
for i = 5, #ARGV, 5 do
  local visitor, version, entry, absent, over = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3] == '1', ARGV[i + 4]
  local result = ''
  local found = redis.call('HGET', visitors, visitor)
  -- What has been told of it that this must be above.
  local below
  if found then
    local home, term, known, rest = string.match(found, '^(%x+):(%d+):(%d+):()')
    if home == node then
      if tonumber(term) > tonumber(epoch) then
        result = 'late'
      elseif tonumber(known) > tonumber(version) or (term == epoch and known == version and rest > #found) then
        -- Others were told more of it, and said so; or it has been claimed above that.
        below = known
      end
    elseif home .. ':' .. term == over then
      if tonumber(known) >= tonumber(version) then below = known end
    else
      result = home .. ':' .. term
      if not absent and tonumber(version) > tonumber(known) then
        -- Its own node told people a greater version: the home goes on above it.
        local header = home .. ':' .. term .. ':' .. version .. ':'
        redis.call('HSET', visitors, visitor, header .. string.sub(found, rest))
        redis.call('PUBLISH', 'pl:node:' .. home, 'r ' .. group .. ' ' .. visitor .. ' ' .. version)
        if tonumber(version) > tonumber(floor) then floor = version end
      end
    end
  elseif tonumber(stored) >= tonumber(version) then
    -- Whoever looked for it was told that it is absent, in that version.
    below = stored
  end
  if result == 'late' then
    result = ''
  elseif result == '' then
    if below then
      -- It is told above what anybody knows, and at once: who had to ask again would never be heard in a busy group.
      version = string.format('%.0f', tonumber(below) + 1)
      entry = node .. ':' .. epoch .. ':' .. version .. ':' .. string.sub(entry, string.match(entry, '^%x+:%d+:%d+:()'))
      if not absent then result = '>' .. version end
    end
    if absent then
      redis.call('HDEL', visitors, visitor)
    else
      redis.call('HSET', visitors, visitor, entry)
    end
    redis.call('SPUBLISH', channel, entry)
    if tonumber(version) > tonumber(floor) then floor = version end
  end
  answer[#answer + 1] = result
end
if floor ~= stored then redis.call('SET', floor_key, floor) end
return answer
