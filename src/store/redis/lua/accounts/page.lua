-- Reads agents by name: how many names were looked at, and a row of each. ARGV: the name before them or '', names.
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found, rows = redis.call('ZRANGEBYLEX', names, from, '+', 'LIMIT', 0, ARGV[2]), {}
for _, agent in ipairs(found) do
    rows[#rows + 1] = row_of(agent) or nil
end
return {#found, rows}
