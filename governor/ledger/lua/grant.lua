#!lua
-- Add to a budget's limit: in one window, or from one instant to another.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 identity  7 detail  8 window ('': by instants)
--       9 amount (below 0: takes a grant back)  10 from_ms (0: now)  11 until_ms
-- Reply {'done', now, total granted in the window, or by this}   {'conflict'}   {'no_ledger'}
--       {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local new, conflict = is_new(KEYS[2], ARGV[3], ARGV[4])
if conflict then
  return conflict
end
local identity, window, amount = ARGV[6], ARGV[8], ARGV[9]
if new then
  add(KEYS[2], identity, window, amount, ARGV[10], ARGV[11], now)
  journal(KEYS[3], 'grant', ARGV[3], now, identity, ARGV[7], ARGV[5])
end
local total = window == '' and amount or redis.call('HGET', KEYS[2], 'g:' .. identity .. ':' .. window)
return {'done', text(now), total}
