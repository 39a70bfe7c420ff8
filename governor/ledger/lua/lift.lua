#!lua
-- End an order before its time.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 id of the order  7 detail
-- Reply {'done', now, '0'}   {'unknown'}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local before, rows = orders_in_force(KEYS[2], '', now), orders_in_force(KEYS[2], ARGV[6], now)
if #before == #rows and redis.call('HEXISTS', KEYS[2], 'op:' .. ARGV[3]) == 0 then
  return {'unknown'}
end
local new, conflict = is_new(KEYS[2], ARGV[3], ARGV[4])
if conflict then
  return conflict
end
if new then
  keep_orders(KEYS[2], rows, ARGV[3])
  journal(KEYS[3], 'response', ARGV[3], now, 'lifted', ARGV[7], ARGV[5])
end
return {'done', text(now), '0'}
