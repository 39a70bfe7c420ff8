#!lua
-- Add to a budget's limit, in one window.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 identity  7 window  8 amount
-- Reply {'done', now, total granted}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local new, conflict = is_new(KEYS[2], ARGV[3], ARGV[4])
if conflict then
  return conflict
end
local field = 'g:' .. ARGV[6] .. ':' .. ARGV[7]
if new then
  redis.call('HINCRBY', KEYS[2], field, ARGV[8])
  journal(KEYS[3], 'grant', ARGV[3], now, ARGV[6], ARGV[8] .. ' ' .. ARGV[7], ARGV[5])
end
return {'done', text(now), redis.call('HGET', KEYS[2], field)}
