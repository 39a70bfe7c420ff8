#!lua
-- Make a store that was rebuilt a ledger, and journal it.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema  3 schema of a store being rebuilt  4 source  5 detail  6 record
-- Reply {'finished'}   {'not_rebuilding'}
local now = clock(ARGV[1])
local meta = redis.call('HMGET', KEYS[1], 'schema', 'epoch', 'source')
if meta[3] ~= ARGV[4] then
  return {'not_rebuilding'}
end
if meta[1] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'schema', ARGV[2], 'created_ms', text(now))
  journal(KEYS[2], 'create', meta[2], now, 'created', '', '{}')
  journal(KEYS[2], 'rebuild', meta[2], now, 'rebuilt', ARGV[5], ARGV[6])
end
return {'finished'}
