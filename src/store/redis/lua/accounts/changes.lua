-- Reads changes of settings, newest first: version and change of each. One at a time: big ones must not all be
-- read where few are told.
-- KEYS: group, changes. ARGV: the version before which they are, or '', changes, bytes.
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if ARGV[1] ~= '' then version = math.min(version, tonumber(ARGV[1]) - 1) end
local rows, size = {}, 0
while #rows < tonumber(ARGV[2]) and size < tonumber(ARGV[3]) do
    local change = redis.call('HGET', KEYS[2], string.format('%.0f', version))
    if not change then break end
    rows[#rows + 1] = {version, change}
    size, version = size + #change, version - 1
end
return rows
