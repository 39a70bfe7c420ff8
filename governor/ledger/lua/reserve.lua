#!lua
-- Decide which candidate every budget can bear, and hold it. The rule: governor/ledger/admission.py.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  5 hold  6… one balance per budget
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 ttl_ms  6 record  7 budgets n  8 candidates m
--       9 due holds to name  10 '1': a contended refusal goes unrecorded; '2': any
--       then per budget: identity  window  start_ms  end_ms (0: none)  limit  steps
--       then per candidate and budget: `amount mark_bp floor comes_back charge_on_expiry`;
--       '' where it is not touched
--       then per candidate: its member of the expiry set, `id identity window identity window …`
-- Reply {'held', now, candidate (from 0), state, expires_ms, n, (posted, held, limit, frozen)×n, due…}
--       {'exhausted' | 'contended' | 'frozen', now, earliest expiry or '', n, (…)×n, due…}
--       {'window_moved', now}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local n, m = tonumber(ARGV[7]), tonumber(ARGV[8])
local first_budget, first_ask = 11, 11 + 6 * n
local first_member = first_ask + n * m

-- read
local known = redis.call('HMGET', KEYS[5], 'state', 'payload', 'candidate', 'expires')
if known[1] and known[2] ~= ARGV[4] then
  return {'conflict'}
end
local identities, windows, file_limits = {}, {}, {}
for i = 1, n do
  local at = first_budget + 6 * (i - 1)
  if not known[1] and ARGV[at + 3] ~= '0' and (now < tonumber(ARGV[at + 2]) or now >= tonumber(ARGV[at + 3])) then
    return {'window_moved', text(now)}
  end
  identities[i], windows[i], file_limits[i] = ARGV[at], ARGV[at + 1], ARGV[at + 4]
end
local limits, frozen = in_force(KEYS[2], identities, windows, file_limits, now)
local posted, held, had, rows, readings = {}, {}, {}, {}, {}
for i = 1, n do
  local row = redis.call('HMGET', KEYS[5 + i], 'posted', 'held', 'limit')
  posted[i], held[i], had[i] = tonumber(row[1] or '0'), tonumber(row[2] or '0'), row[3]
  local k, limit = #readings, text(limits[i])
  readings[k + 1], readings[k + 2], readings[k + 3], readings[k + 4] = row[1] or '0', row[2] or '0', limit, frozen[i]
  rows[i] = readings[k + 1] .. ':' .. readings[k + 2] .. ':' .. limit .. ':' .. (frozen[i] == '' and '0' or '1')
end

local function answer(head)
  head[#head + 1] = text(n)
  for _, value in ipairs(readings) do
    head[#head + 1] = value
  end
  for _, member in ipairs(due(KEYS[3], now, ARGV[9])) do
    head[#head + 1] = member
  end
  return head
end

if known[1] then
  return answer({'held', text(now), known[3], known[1], known[4]})
end

-- decide: 0 fits, 1 contended, 2 exhausted, 3 frozen; the gravest budget speaks for a candidate,
-- the mildest candidate for the refusal
local chosen, mildest = nil, 3
for c = 0, m - 1 do
  local verdict = 0
  for i = 1, n do
    local asked = ARGV[first_ask + c * n + i - 1]
    if asked ~= '' then
      local ask, bp, floor, comes_back = string.match(asked, '^(%d+) (%d+) (%d+) (%d) ')
      local amount, said = tonumber(ask), 0
      local top = math.min(mark(limits[i], tonumber(bp)), limits[i] - tonumber(floor))
      if frozen[i] ~= '' then
        said = 3
      elseif posted[i] + amount > top then
        said = 2
      elseif posted[i] + held[i] + amount > limits[i] then
        said = comes_back == '1' and 1 or 2
      end
      verdict = math.max(verdict, said)
    end
  end
  if verdict == 0 then
    chosen = c
    break
  end
  mildest = math.min(mildest, verdict)
end

-- write
local detail = table.concat(rows, ',')
if not chosen then
  local reason = ({'contended', 'exhausted', 'frozen'})[mildest]
  if ARGV[10] ~= '2' and (reason ~= 'contended' or ARGV[10] ~= '1') then
    journal(KEYS[4], 'reserve', ARGV[3], now, reason, '- ' .. detail, ARGV[6])
  end
  local first = redis.call('ZRANGE', KEYS[3], '0', '0', 'WITHSCORES')
  return answer({reason, text(now), first[2] and text(tonumber(first[2])) or ''})
end
local amounts, charges, ends, file_limits, steps = {}, {}, {}, {}, {}
for i = 1, n do
  local at, asked = first_budget + 6 * (i - 1), ARGV[first_ask + chosen * n + i - 1]
  if asked ~= '' then
    local k = #amounts + 1
    amounts[k], charges[k] = string.match(asked, '^(%d+) %d+ %d+ %d (%d+)$')
    ends[k], file_limits[k], steps[k] = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    ensure(KEYS[5 + i], had[i], ARGV[at + 3], ARGV[at + 4], now)
    redis.call('HINCRBY', KEYS[5 + i], 'held', amounts[k])
  end
end
local expires, member = text(now + tonumber(ARGV[5])), ARGV[first_member + chosen]
redis.call('HSET', KEYS[5], 'state', 'open', 'payload', ARGV[4], 'candidate', text(chosen), 'expires', expires,
  'member', member, 'amounts', table.concat(amounts, ','), 'charges', table.concat(charges, ','),
  'ends', table.concat(ends, ','), 'limits', table.concat(file_limits, ','), 'steps', table.concat(steps, ';') .. ';')
redis.call('ZADD', KEYS[3], expires, member)
journal(KEYS[4], 'reserve', ARGV[3], now, 'held', text(chosen) .. ' ' .. detail, ARGV[6])
return answer({'held', text(now), text(chosen), 'open', expires})
