-- Creates a group or changes its settings, if they are still of the version that was read; answers whether they
-- were, and with the version that there is.
-- KEYS: group, changes. ARGV: told, the version or '', settings, when, by whom as JSON, changes that are kept.
local group, changes = KEYS[1], KEYS[2]
local version, before = unpack(redis.call('HMGET', group, 'version', 'settings'))
if (version or '') ~= ARGV[2] then return {0, version or ''} end
redis.call('HLEN', changes)
local after = string.format('%.0f', (tonumber(version) or 0) + 1)
redis.call('HSET', group, 'version', after, 'settings', ARGV[3])
redis.call('HSETNX', group, 'created', ARGV[4])
redis.call('HSET', changes, after, table.concat({ARGV[4], ARGV[5], before or '', ARGV[3]}, '\n'))
redis.call('HDEL', changes, string.format('%.0f', tonumber(after) - tonumber(ARGV[6])))
redis.call('PUBLISH', 'pl:accounts', ARGV[1])
return {1, after}
