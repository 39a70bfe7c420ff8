#!lua flags=allow-oom
-- Move the expiry of an open hold to now + ttl.
-- KEYS  1 meta  2 expiry  3 hold
-- ARGV  1 now_ms or ''  2 schema  3 ttl_ms
-- Reply {'extended', state, expires_ms or '0'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local hold = redis.call('HMGET', KEYS[3], 'state', 'member')
if hold[1] ~= 'open' then
  return {'extended', hold[1] or 'unknown', '0'}
end
local expires = text(now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[3], 'expires', expires)
redis.call('ZADD', KEYS[2], expires, hold[2])
return {'extended', 'open', expires}
