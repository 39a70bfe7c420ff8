-- Joined before every verb. Amounts travel as integer strings; computed ones leave through '%.0f'.

-- Redis Lua numbers are exact below 2^53; limits are refused above 9e15, so comparisons are exact.
local function text(number)
  return string.format('%.0f', number)
end

-- Unix milliseconds: the server's clock, or the test's.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- nil if the store is this layout's ledger, else the reply that says what it is instead.
local function stranger(meta_key, schema)
  local found = redis.call('HGET', meta_key, 'schema')
  if not found then
    return {'no_ledger'}
  elseif found ~= schema then
    return {'other_schema', found}
  end
  return nil
end

-- floor(limit * bp / 10000), exact: see governor/ledger/admission.py.
local function mark(limit, bp)
  return math.floor(limit / 10000) * bp + math.floor((limit % 10000) * bp / 10000)
end

-- The limits in force and the reasons of freezes ('' if none) of budgets, in one look.
-- identities, windows and file_limits are lists of the same length.
local function in_force(admin_key, identities, windows, file_limits, now)
  local fields, limits, frozen = {}, {}, {}
  for i, identity in ipairs(identities) do
    local k = #fields
    fields[k + 1], fields[k + 2] = 'l:' .. identity, 'g:' .. identity .. ':' .. windows[i]
    fields[k + 3] = 'z:' .. identity
  end
  local rows = #fields > 0 and redis.call('HMGET', admin_key, unpack(fields)) or {}
  for i, file_limit in ipairs(file_limits) do
    local override, granted, freeze = rows[3 * i - 2], rows[3 * i - 1], rows[3 * i]
    limits[i], frozen[i] = tonumber(file_limit), ''
    if override then
      local amount, ends = string.match(override, '^(-?%d+) (%d+)$')
      if ends == '0' or now < tonumber(ends) then
        limits[i] = tonumber(amount)
      end
    end
    if granted then
      limits[i] = limits[i] + tonumber(granted)
    end
    if freeze then
      local ends, reason = string.match(freeze, '^(%d+) (.*)$')
      if ends == '0' or now < tonumber(ends) then
        frozen[i] = reason
      end
    end
  end
  return limits, frozen
end

-- The first few expired holds, as they stand in the sorted set: 'id identity window identity window …'.
local function due(expiry_key, now, count)
  return redis.call('ZRANGEBYSCORE', expiry_key, '-inf', text(now), 'LIMIT', '0', count)
end

-- Thresholds newly crossed. steps and crossed are comma-separated basis points, ascending.
-- Returns the new value of crossed and the list of steps to report.
local function crossings(crossed, posted, limit, steps)
  local kept, list, fired = {}, {}, {}
  for step in string.gmatch(crossed, '%d+') do
    if posted >= mark(limit, math.max(tonumber(step) - 500, 0)) then
      kept[step] = true
      list[#list + 1] = step
    end
  end
  for step in string.gmatch(steps, '%d+') do
    if not kept[step] and posted >= mark(limit, tonumber(step)) then
      list[#list + 1] = step
      fired[#fired + 1] = step
    end
  end
  table.sort(list, function(a, b) return tonumber(a) < tonumber(b) end)
  return table.concat(list, ','), fired
end

-- Makes a balance that is not there yet, and keeps the file's limit of the last time it was asked for.
-- had: its limit as read before, false where it is not there.
local function ensure(key, had, end_ms, file_limit, now)
  if not had then
    redis.call('HSET', key, 'posted', '0', 'held', '0', 'limit', file_limit, 'end', end_ms)
    if end_ms ~= '0' then
      redis.call('PEXPIRE', key, text(math.max(tonumber(end_ms) - now, 0) + 35 * 86400000))
    end
  elseif had ~= file_limit then
    redis.call('HSET', key, 'limit', file_limit)
  end
end

-- Adds to one balance, and appends 'index:step:posted:limit' to report for each threshold crossed.
-- posted and held are integer strings to add, limit is the one in force, index counts from 0.
local function post(report, index, key, end_ms, file_limit, limit, steps, posted, held, now)
  local before = redis.call('HMGET', key, 'limit', 'crossed')
  ensure(key, before[1], end_ms, file_limit, now)
  if held ~= '0' then
    redis.call('HINCRBY', key, 'held', held)
  end
  if posted == '0' then
    return
  end
  local total = redis.call('HINCRBY', key, 'posted', posted)
  if steps == '' then
    return
  end
  local crossed, fired = crossings(before[2] or '', total, limit, steps)
  if crossed ~= (before[2] or '') then
    redis.call('HSET', key, 'crossed', crossed)
  end
  for _, step in ipairs(fired) do
    report[#report + 1] = text(index) .. ':' .. step .. ':' .. text(total) .. ':' .. text(limit)
  end
end

local function journal(key, kind, id, now, outcome, detail, record)
  redis.call('XADD', key, '*', 'kind', kind, 'id', id, 'at', text(now), 'outcome', outcome,
    'detail', detail, 'record', record)
end

-- 'x,y,z' as a list of strings.
local function split(joined)
  local list = {}
  for part in string.gmatch(joined, '[^,]+') do
    list[#list + 1] = part
  end
  return list
end

-- Whether an administrator's operation is new; nil and a reply if its id came with another payload.
local function is_new(admin_key, id, payload)
  local known = redis.call('HGET', admin_key, 'op:' .. id)
  if not known then
    redis.call('HSET', admin_key, 'op:' .. id, payload)
    return true
  end
  return false, known ~= payload and {'conflict'} or nil
end
