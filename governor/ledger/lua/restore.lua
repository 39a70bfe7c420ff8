#!lua
-- Put balances, ended holds and administrators' changes into a store that is being rebuilt.
-- KEYS  1 meta  2 admin  3 requests  then a key per balance, per hold, and per record entered
-- ARGV  1 now_ms or ''  2 schema of a store being rebuilt  3 source
--       4 admin fields a  5 balances b  6 holds h  7 fields of requests q  8 records entered e
--       then per admin field, and per field of requests: field  value
--       then per balance: `end_ms limit bucket_ms kept_ms steps` (end 0: none; bucket 0: not rolling)  posted
--       crossed  `bucket amount;` of a window that rolls
--       then per hold: until when it is remembered (ms)  state  member  rows  closing  detail
--       payload: the digest of its reserve (`-`), then what that noted; or ''
--       then per record entered: until when it is known (ms)  payload  at_ms
-- Reply {'restored'}   {'not_rebuilding'}
local now = clock(ARGV[1])
local meta = redis.call('HMGET', KEYS[1], 'schema', 'source')
if meta[1] ~= ARGV[2] or meta[2] ~= ARGV[3] then
  return {'not_rebuilding'}
end
local at, key = 9, 4
for i = 1, tonumber(ARGV[4]) + tonumber(ARGV[7]) do
  redis.call('HSET', i <= tonumber(ARGV[4]) and KEYS[2] or KEYS[3], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, tonumber(ARGV[5]) do
  redis.call('DEL', KEYS[key])
  ensure(KEYS[key], {limit = false, stale = {}}, ARGV[at], now)
  if ARGV[at + 1] ~= '0' then
    redis.call('HSET', KEYS[key], 'posted', ARGV[at + 1])
  end
  if ARGV[at + 2] ~= '' then
    redis.call('HSET', KEYS[key], 'crossed', ARGV[at + 2])
  end
  for slot, amount in string.gmatch(ARGV[at + 3], '(%d+) (-?%d+);') do
    redis.call('HSET', KEYS[key], slot, amount)
  end
  at, key = at + 4, key + 1
end
for _ = 1, tonumber(ARGV[6]) do
  local left = tonumber(ARGV[at]) - now
  if left > 0 then
    redis.call('HSET', KEYS[key], 'state', ARGV[at + 1], 'payload', ARGV[at + 6], 'candidate', '0', 'expires', '0',
      'member', ARGV[at + 2], 'rows', ARGV[at + 3], 'closing', ARGV[at + 4], 'detail', ARGV[at + 5])
    redis.call('PEXPIRE', KEYS[key], text(left))
  end
  at, key = at + 7, key + 1
end
for _ = 1, tonumber(ARGV[8]) do
  local left = tonumber(ARGV[at]) - now
  if left > 0 then
    redis.call('HSET', KEYS[key], 'payload', ARGV[at + 1], 'at', ARGV[at + 2])
    redis.call('PEXPIRE', KEYS[key], text(left))
  end
  at, key = at + 3, key + 1
end
return {'restored'}
