-- A right answer: the wrong tries at a door are forgotten. KEYS: its tries. ARGV: door.
if redis.call('DEL', KEYS[1]) == 1 then redis.call('PUBLISH', 'pl:accounts', '!door ' .. ARGV[1]) end
