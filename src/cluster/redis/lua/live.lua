-- How many nodes live. KEYS: leases.
local time = redis.call('TIME')
local now, count = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), 0
for _, row in ipairs(redis.call('HVALS', KEYS[1])) do
    if tonumber(string.match(row, '^(%d+):') or '0') > now then count = count + 1 end
end
return count
