-- The owner gives a session up.
-- ARGV: session, owner.
local id, owner = unpack(ARGV)
local home = home_of(id)
if not home or home.owner ~= owner then return 0 end
settle(id, '', '0', home.visitor)
return 1
