#!lua flags=no-writes,allow-oom
-- Read balances as the ledger keeps them: with the file's limit of the last time each was asked for.
-- KEYS  1 meta  2 admin  3… balances
-- ARGV  1 now_ms or ''  2 schema
-- Reply {'list', now, (end_ms, `posted held limit frees frozen`)×n; end_ms '' where the balance is gone}
--       {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local keys, file_limits, found, ends, reply = {}, {}, {}, {}, {'list', text(now)}
for i = 1, #KEYS - 2 do
  local row = redis.call('HMGET', KEYS[2 + i], 'end', 'limit', 'bucket')
  ends[i], file_limits[i], found[i] = row[1] or '', row[2] or '0', look(KEYS[2 + i], row[3] or '0', now)
  keys[i] = KEYS[2 + i]
end
local limits, frozen, said = in_force(KEYS[2], keys, file_limits, now)
for i = 1, #limits do
  reply[1 + 2 * i], reply[2 + 2 * i] = ends[i], reading(found[i], said[i], frozen[i])
end
return reply
