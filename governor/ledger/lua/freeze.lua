#!lua
-- Refuse whatever touches a budget.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 identity  7 reason  8 until_ms (0: until unfrozen)
-- Reply {'done', now, '0'}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local new, conflict = is_new(KEYS[2], ARGV[3], ARGV[4])
if conflict then
  return conflict
end
if new then
  redis.call('HSET', KEYS[2], 'z:' .. ARGV[6], ARGV[8] .. ' ' .. ARGV[7])
  journal(KEYS[3], 'freeze', ARGV[3], now, ARGV[6], ARGV[8] .. ' ' .. ARGV[7], ARGV[5])
end
return {'done', text(now), '0'}
