#!lua
-- Put a limit in place of the file's, or take it away.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 identity  7 limit ('': the file's again)
--       8 until_ms (0: until changed)
-- Reply {'done', now, '0'}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local new, conflict = is_new(KEYS[2], ARGV[3], ARGV[4])
if conflict then
  return conflict
end
if new then
  if ARGV[7] == '' then
    redis.call('HDEL', KEYS[2], 'l:' .. ARGV[6])
  else
    redis.call('HSET', KEYS[2], 'l:' .. ARGV[6], ARGV[7] .. ' ' .. ARGV[8])
  end
  journal(KEYS[3], 'set', ARGV[3], now, ARGV[6], ARGV[7] .. ' ' .. ARGV[8], ARGV[5])
end
return {'done', text(now), '0'}
