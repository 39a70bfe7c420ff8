#!lua
-- Give an order, which every process is told before its next request is held.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 kind  7 what it says  8 until_ms
--       9 the budget that it freezes ('-': none)  10 why  11 how many may be in force
-- Reply {'done', now, '0'}   {'too_many', in force}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local id = ARGV[3]
local rows = orders_in_force(KEYS[2], id, now)
if #rows >= tonumber(ARGV[11]) and redis.call('HEXISTS', KEYS[2], 'op:' .. id) == 0 then
  return {'too_many', text(#rows)}
end
local new, conflict = is_new(KEYS[2], id, ARGV[4])
if conflict then
  return conflict
end
if new then
  rows[#rows + 1] = table.concat({id, ARGV[8], text(now), ARGV[9], ARGV[10], ARGV[7]}, ' ') .. ';'
  keep_orders(KEYS[2], rows, id)
  journal(KEYS[3], 'response', id, now, ARGV[6], ARGV[7], ARGV[5])
end
return {'done', text(now), '0'}
