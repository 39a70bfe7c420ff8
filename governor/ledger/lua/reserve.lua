#!lua
-- Decide which candidate every budget can bear, and hold it. The rule: governor/ledger/admission.py.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  5 hold  6… one balance per budget  then, with a notice, the board
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 ttl_ms  6 record  7 candidates m  8 due holds to name
--       9 '1': a contended refusal goes unrecorded; '2': any  10 `process kept_ms lines` of a notice, or ''
--       11 the version of the orders heard of, or '-': they are not asked for
--       then per budget: `start_ms end_ms limit bucket_ms kept_ms steps` (end 0: none; bucket 0: not rolling)
--       then per candidate: for each budget `amount mark_bp floor comes_back charge_on_expiry share_bp;`, or `;`
--       where it does not touch it (share '-': the budget only counts, and refuses nothing)
--       then, with a notice, its text
-- Reply {'held', now, candidate (from 0), state, expires_ms, n, (`posted held limit frees frozen`)×n, due…}
--       {'exhausted' | 'contended' | 'frozen', now, earliest expiry or '', n, (…)×n, due…}
--       both, with a notice, and then (`process at_ms text`)×k of others, k
--       {'reordered', now, version, orders}   the rows of orders: governor/ledger/orders.py
--       {'window_moved', now}   {'conflict'}   {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local n, m, rows = #KEYS - (ARGV[10] == '' and 5 or 6), tonumber(ARGV[7]), 11

-- read
local known = redis.call('HMGET', KEYS[5], 'state', 'payload', 'candidate', 'expires')
if known[1] and known[2] ~= ARGV[4] then
  return {'conflict'}
end
local keys, own, file_limits, found, readings, shown = {}, {}, {}, {}, {}, {}
for i = 1, n do
  local start, row = string.match(ARGV[rows + i], '^(%d+) (.*)$')
  local ends, limit, bucket_ms = terms(row)
  own[i] = row
  if not known[1] and ends ~= '0' and (now < tonumber(start) or now >= tonumber(ends)) then
    return {'window_moved', text(now)}
  end
  keys[i], file_limits[i], found[i] = KEYS[5 + i], limit, look(KEYS[5 + i], bucket_ms, now)
end
local limits, frozen, said, orders = in_force(KEYS[2], keys, file_limits, now)
if not known[1] and ARGV[11] ~= '-' and ARGV[11] ~= orders then
  return {'reordered', text(now), orders, redis.call('HGET', KEYS[2], 'orders') or ''}
end
for i = 1, n do
  readings[i] = reading(found[i], said[i], frozen[i])
  local posted, held = text_of(found[i])
  shown[i] = posted .. ':' .. held .. ':' .. said[i] .. (frozen[i] == '' and ':0' or ':1')
end

local function answer(head)
  head[#head + 1] = text(n)
  for _, value in ipairs(readings) do
    head[#head + 1] = value
  end
  for _, late in ipairs(due(KEYS[3], now, ARGV[8])) do
    head[#head + 1] = late
  end
  return carry(head, ARGV[10], now)
end

if known[1] then
  return answer({'held', text(now), known[3], known[1], known[4]})
end

-- decide: 0 fits, 1 contended, 2 exhausted, 3 frozen; the gravest budget speaks for a candidate,
-- the mildest candidate for the refusal
local chosen, mildest, asked = nil, 3, nil
for c = 0, m - 1 do
  local verdict, i = 0, 0
  asked = {}
  local ask = '(%d*) ?(%d*) ?(%d*) ?(%d*) ?(%d*) ?([%d-]*);'
  for amount_text, bp, floor, comes_back, charge, share in string.gmatch(ARGV[rows + n + 1 + c], ask) do
    i = i + 1
    if amount_text ~= '' then
      local amount, says = tonumber(amount_text), 0
      local most = share ~= '-' and mark(limits[i], tonumber(share))
      if not most then
        says = 0
      elseif frozen[i] ~= '' then
        says = 3
      elseif found[i].posted + amount > math.min(mark(limits[i], tonumber(bp)), limits[i] - tonumber(floor), most) then
        says = 2
      elseif found[i].posted + found[i].held + amount > most then
        says = comes_back == '1' and 1 or 2
      end
      verdict = math.max(verdict, says)
      asked[#asked + 1] = {i, amount_text, charge}
    end
  end
  if verdict == 0 then
    chosen = c
    break
  end
  mildest = math.min(mildest, verdict)
end

-- write
local detail = table.concat(shown, ',')
if not chosen then
  local reason = ({'contended', 'exhausted', 'frozen'})[mildest]
  if ARGV[9] ~= '2' and (reason ~= 'contended' or ARGV[9] ~= '1') then
    journal(KEYS[4], 'reserve', ARGV[3], now, reason, '- ' .. detail, ARGV[6])
  end
  local first = redis.call('ZRANGE', KEYS[3], '0', '0', 'WITHSCORES')
  return answer({reason, text(now), first[2] and text(tonumber(first[2])) or ''})
end
local touched, held = {}, {}
for k, ask in ipairs(asked) do
  local i, amount, charge = ask[1], ask[2], ask[3]
  local row = own[i]
  local _, _, bucket_ms = terms(row)
  ensure(keys[i], found[i], row, now)
  redis.call('HINCRBY', keys[i], 'held', amount)
  touched[k], held[k] = keys[i], amount .. ' ' .. charge .. ' ' .. slot_at(bucket_ms, now) .. ' ' .. row .. ';'
end
local expires, named = text(now + tonumber(ARGV[5])), member(ARGV[3], touched)
redis.call('HSET', KEYS[5], 'state', 'open', 'payload', ARGV[4], 'candidate', text(chosen), 'expires', expires,
  'member', named, 'rows', table.concat(held))
redis.call('ZADD', KEYS[3], expires, named)
journal(KEYS[4], 'reserve', ARGV[3], now, 'held', text(chosen) .. ' ' .. detail, ARGV[6])
return answer({'held', text(now), text(chosen), 'open', expires})
