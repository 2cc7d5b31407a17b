-- A node says that it lives, and learns who else does.
-- A row may say more behind what is known here: a later version's, which stays as it is.
-- KEYS: leases (node -> until:epoch:settled:draining:seq), facts (node -> bytes), the time of the last beat of any.
-- ARGV: node, its epoch as it knows it (0 at first), seq, lease, settled, draining, facts, gap, remembered, fresh,
--       leaving, channel of news, channel of the node.
-- Returns its epoch (0: it has left, or a later beat came first), and for each node: name, what is left of its lease,
-- epoch, settled, draining, facts.
local leases, facts, last_key = KEYS[1], KEYS[2], KEYS[3]
local me, known, seq = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, gap, remembered = tonumber(ARGV[4]), tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function read(text)
  local ends, epoch, settled, draining, count, more = string.match(text, '^(%d+):(%d+):(%d):(%d):(%d+)(.*)$')
  -- What no node wrote is none's.
  if not ends then return nil end
  ends, epoch, count = tonumber(ends), tonumber(epoch), tonumber(count)
  return { ends = ends, epoch = epoch, settled = settled, draining = draining, seq = count, more = more }
end

local function write(node, row)
  local text = string.format('%.0f:%.0f:%s:%s:%.0f', row.ends, row.epoch, row.settled, row.draining, row.seq)
  redis.call('HSET', leases, node, text .. (row.more or ''))
end

local rows = {}
local flat = redis.call('HGETALL', leases)
for i = 1, #flat, 2 do rows[flat[i]] = read(flat[i + 1]) end

-- While nobody could beat, nobody died. Or the clock was set. What was said before may be true no more.
local last = tonumber(redis.call('GET', last_key) or '0')
if last > 0 and math.abs(now - last) > gap then
  for node, row in pairs(rows) do
    if row.ends > last then
      row.ends, row.epoch, row.settled = now + lease, row.epoch + 1, '0'
      write(node, row)
    elseif row.ends > now then
      -- The clock was set back: who was dead stays so.
      row.ends = now
      write(node, row)
    end
  end
end
redis.call('SET', last_key, string.format('%.0f', now))

local mine, leaving = rows[me], ARGV[11] == '1'
local epoch = 0
if not mine or mine.seq < seq then
  local row = { ends = now + lease, epoch = known, settled = ARGV[5], draining = ARGV[6], seq = seq }
  if leaving then
    row.ends, row.epoch = now, math.max(known, mine and mine.epoch or 0)
  elseif not mine then
    row.epoch = known + 1
    if known > 0 then row.settled = '0' end
  elseif mine.ends <= now or mine.epoch ~= known or ARGV[10] == '1' then
    row.epoch, row.settled = math.max(mine.epoch, known) + 1, '0'
  end
  write(me, row)
  redis.call('HSET', facts, me, ARGV[7])
  rows[me] = row
  if not mine or leaving or mine.epoch ~= row.epoch or mine.settled ~= row.settled or mine.draining ~= row.draining then
    redis.call('PUBLISH', ARGV[12], me)
  end
  redis.call('PUBLISH', ARGV[13], 'b' .. ARGV[3])
  if not leaving then epoch = row.epoch end
end

local answer = { string.format('%.0f', epoch) }
for node, row in pairs(rows) do
  if row.ends + remembered < now then
    redis.call('HDEL', leases, node)
    redis.call('HDEL', facts, node)
  else
    local left = math.max(row.ends - now, 0)
    answer[#answer + 1] = node
    answer[#answer + 1] = string.format('%.0f', left)
    answer[#answer + 1] = string.format('%.0f', row.epoch)
    answer[#answer + 1] = row.settled
    answer[#answer + 1] = row.draining
    answer[#answer + 1] = redis.call('HGET', facts, node) or ''
  end
end
return answer
