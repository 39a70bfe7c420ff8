#!lua
-- Put a limit in place of the file's, or take every such limit away. The last one set that is in force holds.
-- KEYS  1 meta  2 admin  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 identity  7 detail  8 limit ('': the file's again)
--       9 from_ms (0: now)  10 until_ms (0: until changed)
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
  local limit, from, ends = ARGV[8], ARGV[9], ARGV[10]
  local alone = limit == '' or (from == '0' and ends == '0')
  local entry = limit == '' and '' or '=' .. limit .. ' ' .. from .. ' ' .. ends .. ';'
  change(KEYS[2], ARGV[6], entry, alone, now)
  journal(KEYS[3], 'set', ARGV[3], now, ARGV[6], ARGV[7], ARGV[5])
end
return {'done', text(now), '0'}
