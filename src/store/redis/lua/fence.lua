-- Refuses a writer whose lease is older than the newest that wrote, and notes the newest. Who has no lease (0) is
-- not looked at.
local function fence(key, number)
    if number == '0' then return end
    local newest = redis.call('GET', key)
    if newest and tonumber(number) < tonumber(newest) then
        error({err = 'SUPERSEDED a later lease than ' .. number .. ' has written'})
    end
    if newest ~= number then redis.call('SET', key, number) end
end
