#!lua flags=no-writes,allow-oom
-- Read the journal in order.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema  3 the place from which to read ('-': from the oldest)  4 records at most
-- Reply {'since', epoch, {place, {field, value…}}…}   {'no_ledger'}   {'other_schema', found}
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local reply = {'since', redis.call('HGET', KEYS[1], 'epoch')}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[3], '+', 'COUNT', ARGV[4])) do
  reply[#reply + 1] = entry
end
return reply
