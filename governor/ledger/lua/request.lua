#!lua
-- Ask for more budget: what is asked is kept for an administrator; no limit changes.
-- KEYS  1 meta  2 requests  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 what is asked  5 record  6 identity  7 ends_ms (0: never over)
--       8 how many may be open  9 ms for which the others are kept  10 how many others at most
-- Reply {'requested', row, answer or ''}   {'too_many', open}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
--       row: `at_ms ends_ms what is asked`, answer: `at_ms how`
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end

-- read
local field = 'r:' .. ARGV[3]
local known = redis.call('HMGET', KEYS[2], field, 'a:' .. ARGV[3])
if known[1] then
  local said = string.match(known[1], '^%d+ %d+ (.*)$')
  return said == ARGV[4] and {'requested', known[1], known[2] or ''} or {'conflict'}
end
local rows, asked, answers = redis.call('HGETALL', KEYS[2]), {}, {}
for i = 1, #rows, 2 do
  local kind, id = string.sub(rows[i], 1, 2), string.sub(rows[i], 3)
  if kind == 'r:' then
    asked[id] = tonumber(string.match(rows[i + 1], '^%d+ (%d+) ') or '1')
  elseif kind == 'a:' then
    answers[id] = tonumber(string.match(rows[i + 1], '^%d+') or '1')
  end
end

-- decide: those that are answered, or over, are closed; one without a row, or that cannot be read, is long closed
local open, others, gone = 0, {}, {}
for id in pairs(answers) do
  asked[id] = asked[id] or 1
end
for id, ends in pairs(asked) do
  local at = answers[id] or ends
  if not answers[id] and (ends == 0 or now < ends) then
    open = open + 1
  elseif at + tonumber(ARGV[9]) <= now then
    gone[#gone + 1] = id
  else
    others[#others + 1] = {at, id}
  end
end
if open >= tonumber(ARGV[8]) then
  return {'too_many', text(open)}
end
table.sort(others, function(a, b) return a[1] > b[1] or (a[1] == b[1] and a[2] > b[2]) end)
for i = tonumber(ARGV[10]) + 1, #others do
  gone[#gone + 1] = others[i][2]
end

-- write
for _, id in ipairs(gone) do
  redis.call('HDEL', KEYS[2], 'r:' .. id, 'a:' .. id)
end
local row = text(now) .. ' ' .. ARGV[7] .. ' ' .. ARGV[4]
redis.call('HSET', KEYS[2], field, row)
journal(KEYS[3], 'request', ARGV[3], now, ARGV[6], ARGV[4], ARGV[5])
return {'requested', row, ''}
