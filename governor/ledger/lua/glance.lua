#!lua flags=no-writes,allow-oom
-- Look at what is under way: the open holds that expire first, and the notice board.
-- KEYS  1 meta  2 expiry  3 board
-- ARGV  1 now_ms or ''  2 schema  3 holds at most
-- Reply {'glance', now, open, n, (hold and its balances, expires_ms)×n, (`process at_ms text`)…}
--       {'no_ledger'}   {'other_schema', found}
-- A user without the right to ZCARD or to the board finds as many open as are named, and the board empty.
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local holds = redis.call('ZRANGE', KEYS[2], '0', text(tonumber(ARGV[3]) - 1), 'WITHSCORES')
local open = redis.pcall('ZCARD', KEYS[2])
local reply = {'glance', text(now), text(type(open) == 'number' and open or #holds / 2), text(#holds / 2)}
for i = 1, #holds do
  reply[#reply + 1] = holds[i]
end
local row = redis.pcall('HGETALL', KEYS[3])
for i = 1, #row, 2 do
  local line = row[i] .. ' ' .. row[i + 1]
  if #line <= LONGEST_LINE + 33 and is_utf8(line) then
    reply[#reply + 1] = line
  end
end
return reply
