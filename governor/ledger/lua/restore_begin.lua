#!lua
-- Make an empty or unused store one that is being rebuilt. Its schema number makes every other verb refuse it.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  5 requests
-- ARGV  1 now_ms or ''  2 schema  3 schema of a store being rebuilt  4 epoch  5 source
--       6 '1': some balances are there
-- Reply {'begun' | 'resumed' | 'done', epoch}   {'in_use'}   {'other_source'}   {'other_schema', found}
local meta = redis.call('HMGET', KEYS[1], 'schema', 'epoch', 'source')
local schema, epoch, source = meta[1], meta[2], meta[3]
if schema == ARGV[3] then
  return source == ARGV[5] and {'resumed', epoch} or {'other_source'}
elseif schema and schema ~= ARGV[2] then
  return {'other_schema', schema}
elseif schema and source == ARGV[5] then
  return {'done', epoch}
end
-- An unused ledger has one record, of its creation; an emptied store has none.
local records = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', '2')
local unused = schema and #records == 1 and records[1][2][2] == 'create' or not schema and #records == 0
if not unused or ARGV[6] == '1' or redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[5]) > 0 then
  return {'in_use'}
end
redis.call('DEL', KEYS[1], KEYS[4])
redis.call('HSET', KEYS[1], 'schema', ARGV[3], 'epoch', ARGV[4], 'source', ARGV[5])
return {'begun', ARGV[4]}
