-- Makes a call its holder's, or says who makes it. KEYS: the claim. ARGV: holder, what is asked, for how long.
local claim = ARGV[1] .. ARGV[2]
local held = redis.call('GET', KEYS[1])
if held and held ~= claim then
    return string.sub(held, -#ARGV[2]) == ARGV[2] and 'there' or 'other'
end
redis.call('SET', KEYS[1], claim, 'PX', ARGV[3])
return 'here'
