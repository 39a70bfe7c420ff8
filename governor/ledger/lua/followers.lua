#!lua flags=no-writes,allow-oom
-- The archives that follow, and how far each lags.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema
-- Reply {'followers', then of each: name, place, how many records it has not ('': unknown), when the oldest of
--       them was written ('': there is none)}   {'no_ledger'}   {'other_schema', found}
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local reply = {'followers'}
for _, group in ipairs(followers(KEYS[2])) do
  local next_one = redis.call('XRANGE', KEYS[2], '(' .. group.place, '+', 'COUNT', '1')[1]
  reply[#reply + 1] = group.name
  reply[#reply + 1] = group.place
  reply[#reply + 1] = next_one and (group.lag and text(group.lag) or '') or '0'
  reply[#reply + 1] = next_one and next_one[2][6] or ''
end
return reply
