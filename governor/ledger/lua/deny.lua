#!lua
-- Close a request and grant nothing: denied by an administrator, or withdrawn by whoever asked.
-- KEYS  1 meta  2 admin  3 requests  4 journal
-- ARGV  1 now_ms or ''  2 schema  3 id of the request  4 its row as it was read  5 record  6 identity  7 detail
--       8 answer  9 id of the operation  10 its payload ('': withdrawn, which takes no administrator)
-- Reply {'done', at_ms}   {'answered', row, answer}   {'changed', row}   {'unknown'}   {'conflict'}
--       {'no_ledger'}   {'other_schema', found}   row and answer: see request.lua
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local told = closed(KEYS[3], ARGV[3], ARGV[4], ARGV[8])
if told then
  return told
end
-- Administrators' keys first: without the right to write them, nothing is written at all.
if ARGV[10] ~= '' then
  local _, conflict = is_new(KEYS[2], ARGV[9], ARGV[10])
  if conflict then
    return conflict
  end
end
redis.call('HSET', KEYS[3], 'a:' .. ARGV[3], text(now) .. ' ' .. ARGV[8])
journal(KEYS[4], 'deny', ARGV[9], now, ARGV[6], ARGV[7], ARGV[5])
return {'done', text(now)}
