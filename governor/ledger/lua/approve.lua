#!lua
-- Grant what was asked for, and close the request.
-- KEYS  1 meta  2 admin  3 requests  4 journal
-- ARGV  1 now_ms or ''  2 schema  3 id of the request  4 its row as it was read  5 record  6 identity  7 detail
--       8 answer  9 id of the grant  10 its payload  11 window ('': by instants)  12 amount  13 from_ms (0: now)
--       14 until_ms
-- Reply {'done', at_ms}   {'answered', row, answer}   {'changed', row}   {'over'}   {'unknown'}   {'conflict'}
--       {'no_ledger'}   {'other_schema', found}   row and answer: see request.lua
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local told = closed(KEYS[3], ARGV[3], ARGV[4], ARGV[8])
if told then
  return told
end
local ends = tonumber(string.match(ARGV[4], '^%d+ (%d+) '))
if ends > 0 and ends <= now then
  return {'over'}
end
-- Administrators' keys first: without the right to write them, nothing is written at all.
local new, conflict = is_new(KEYS[2], ARGV[9], ARGV[10])
if conflict then
  return conflict
end
if new then
  add(KEYS[2], ARGV[6], ARGV[11], ARGV[12], ARGV[13], ARGV[14], now)
  journal(KEYS[4], 'grant', ARGV[9], now, ARGV[6], ARGV[7], ARGV[5])
end
redis.call('HSET', KEYS[3], 'a:' .. ARGV[3], text(now) .. ' ' .. ARGV[8])
return {'done', text(now)}
