#!lua flags=no-writes,allow-oom
-- Read balances.
-- KEYS  1 meta  2 admin  3… one balance per budget
-- ARGV  1 now_ms or ''  2 schema  3 budgets n  then per budget: identity  window  limit
-- Reply {'read', now, n, (posted, held, limit, frozen)×n}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local identities, windows, file_limits, reply = {}, {}, {}, {'read', text(now), ARGV[3]}
for i = 1, tonumber(ARGV[3]) do
  local at = 4 + 3 * (i - 1)
  identities[i], windows[i], file_limits[i] = ARGV[at], ARGV[at + 1], ARGV[at + 2]
end
local limits, frozen = in_force(KEYS[2], identities, windows, file_limits, now)
for i, limit in ipairs(limits) do
  local row, k = redis.call('HMGET', KEYS[2 + i], 'posted', 'held'), #reply
  reply[k + 1], reply[k + 2], reply[k + 3], reply[k + 4] = row[1] or '0', row[2] or '0', text(limit), frozen[i]
end
return reply
