#!lua
-- Make an empty store a ledger; does nothing to one that already is.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema  3 epoch
-- Reply {'ok'}
local now = clock(ARGV[1])
if redis.call('HSETNX', KEYS[1], 'schema', ARGV[2]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'created_ms', text(now))
  journal(KEYS[2], 'create', ARGV[3], now, 'created', '', '{}')
end
return {'ok'}
