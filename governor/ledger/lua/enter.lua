#!lua
-- Write a record that changes no balance into the journal, once by its id.
-- KEYS  1 meta  2 entered (what is known of the id)  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 kind  7 outcome  8 ms for which the id is known
-- Reply {'entered', '1' (new) | '0'}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local known = redis.call('HMGET', KEYS[2], 'payload', 'at')
if known[1] and tonumber(known[2]) + tonumber(ARGV[8]) > now then
  return known[1] == ARGV[4] and {'entered', '0'} or {'conflict'}
end
redis.call('HSET', KEYS[2], 'payload', ARGV[4], 'at', text(now))
redis.call('PEXPIRE', KEYS[2], ARGV[8])
journal(KEYS[3], ARGV[6], ARGV[3], now, ARGV[7], '', ARGV[5])
return {'entered', '1'}
