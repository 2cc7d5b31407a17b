-- Makes a node the home of a visitor, unless another one is.
-- KEYS: visitors (visitor -> node:epoch:version:snapshot), the greatest version of the group.
-- ARGV: visitor, node, epoch, the holder that may be taken over (node:epoch, or empty), '1' if what that one told stays
--       until this node tells otherwise.
-- Returns 1 and the entry as it was found or '' and the version to go on from; or 0 and the other's entry.
local visitor, node, epoch, over = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keeps, shown = ARGV[5] == '1', ''
local floor = redis.call('GET', KEYS[2]) or '0'
local entry = redis.call('HGET', KEYS[1], visitor)
if entry then
  local home, term, version, rest = string.match(entry, '^(%x+):(%d+):(%d+):()')
  -- A claim of an earlier term comes late, and takes nothing away.
  if home == node and tonumber(term) >= tonumber(epoch) then return { 1, entry, version } end
  if home ~= node and home .. ':' .. term ~= over then return { 0, entry, version } end
  if tonumber(version) > tonumber(floor) then floor = version end
  if keeps and home .. ':' .. term == over then shown = string.sub(entry, rest) end
end
redis.call('HSET', KEYS[1], visitor, node .. ':' .. epoch .. ':' .. floor .. ':' .. shown)
return { 1, entry or '', floor }
