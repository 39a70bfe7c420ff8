#!lua flags=no-writes,allow-oom
-- Read balances.
-- KEYS  1 meta  2 admin  3… one balance per budget
-- ARGV  1 now_ms or ''  2 schema  then per budget: `limit bucket_ms` (0: not rolling)
-- Reply {'read', now, n, (`posted held limit frees frozen`)×n}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local keys, file_limits, found, reply = {}, {}, {}, {'read', text(now), text(#KEYS - 2)}
for i = 1, #KEYS - 2 do
  local limit, bucket_ms = string.match(ARGV[2 + i], '^(%d+) (%d+)$')
  keys[i], file_limits[i], found[i] = KEYS[2 + i], limit, look(KEYS[2 + i], bucket_ms, now)
end
local limits, frozen, said = in_force(KEYS[2], keys, file_limits, now)
for i = 1, #limits do
  reply[3 + i] = reading(found[i], said[i], frozen[i])
end
return reply
