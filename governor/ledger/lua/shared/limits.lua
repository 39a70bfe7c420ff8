-- Joined before every verb that looks at balances: limits in force, and readings.

-- The identity and the window in the key of a balance: what follows ':b:'. An identity has no colon.
-- Kept by key, for a script asks again and again.
local known_parts = {}
local function parts(key)
  local found = known_parts[key]
  if not found then
    found = {string.match(key, '^[^}]*}:b:([^:]*):(.*)$')}
    known_parts[key] = found
  end
  return found[1], found[2]
end

-- floor(limit * bp / 10000), exact: see governor/ledger/admission.py.
local function mark(limit, bp)
  return math.floor(limit / 10000) * bp + math.floor((limit % 10000) * bp / 10000)
end

-- A budget's terms as they travel and are kept: end_ms (0: none), limit, bucket_ms (0: not rolling), kept_ms, steps
-- (with @pace_bp where the budget is paced).
-- Kept by row, like the parts of a key.
local known_terms = {}
local function terms(row)
  local found = known_terms[row]
  if not found then
    found = {string.match(row, '(%d+) (%d+) (%d+) (%d+) ([%d,@]*)$')}
    known_terms[row] = found
  end
  return found[1], found[2], found[3], found[4], found[5]
end

-- The limit in force: 'changes' is '=amount from until;' for a limit that was set, '+amount from until;' for a grant
-- (an amount below 0 takes one back).
local function changed(limit, changes, now)
  local added = 0
  for kind, amount, from, ends in string.gmatch(changes, '([=+])(%-?%d+) (%d+) (%d+);') do
    if now >= tonumber(from) and (ends == '0' or now < tonumber(ends)) then
      if kind == '=' then
        limit = tonumber(amount)
      else
        added = added + tonumber(amount)
      end
    end
  end
  return limit + added
end

-- The limits in force (numbers), the reasons of freezes ('' if none) and the limits as text, of budgets, and the version
-- of the orders ('' if there never were any), in one look.
-- keys (of their balances) and file_limits (text) are lists of the same length.
local function in_force(admin_key, keys, file_limits, now)
  local fields, limits, frozen, said = {}, {}, {}, {}
  for i, key in ipairs(keys) do
    local k, identity, window = 3 * (i - 1), parts(key)
    fields[k + 1], fields[k + 2], fields[k + 3] = 'l:' .. identity, 'g:' .. identity .. ':' .. window, 'z:' .. identity
  end
  fields[#fields + 1] = 'orders:v'
  local rows = redis.call('HMGET', admin_key, unpack(fields))
  for i, file_limit in ipairs(file_limits) do
    local changes, granted, freeze = rows[3 * i - 2], rows[3 * i - 1], rows[3 * i]
    limits[i], frozen[i], said[i] = tonumber(file_limit), '', file_limit
    if changes or granted then
      limits[i] = changed(limits[i], changes or '', now) + tonumber(granted or '0')
      said[i] = text(limits[i])
    end
    if freeze then
      local ends, reason = string.match(freeze, '^(%d+) (.*)$')
      if ends == '0' or now < tonumber(ends) then
        frozen[i] = reason
      end
    end
  end
  return limits, frozen, said, rows[#fields] or ''
end

-- When spend first leaves a rolling window of these buckets (amounts by their number); '0': it does not.
local function frees(buckets, size)
  local first = nil
  for slot, amount in pairs(buckets) do
    if amount > 0 and (not first or slot < first) then
      first = slot
    end
  end
  return first and text((first + 49) * size) or '0'
end

local nothing = {}

-- One balance as it is: posted and held (numbers), as_text (both, until one changes), limit (the file's as
-- kept; false: it is not there), crossed, frees (when spend first leaves a rolling window; '0': it does not), its
-- buckets, and stale (those that have left it). A rolling window is 48 buckets and the current one.
local function look(key, bucket_ms, now)
  if bucket_ms == '0' then
    local row = redis.call('HMGET', key, 'posted', 'held', 'limit', 'crossed')
    local posted, held, crossed = row[1] or '0', row[2] or '0', row[4] or ''
    return {posted = tonumber(posted), held = tonumber(held), as_text = {posted, held}, limit = row[3],
      crossed = crossed, frees = '0', stale = nothing}
  end
  local found = {posted = 0, held = 0, limit = false, crossed = '', buckets = {}, stale = {}}
  local size = tonumber(bucket_ms)
  local oldest = math.floor(now / size) - 48
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do
    local name, value = row[i], row[i + 1]
    local slot = tonumber(name)
    if not slot then
      found[name] = name == 'held' and tonumber(value) or value
    elseif slot < oldest then
      found.stale[#found.stale + 1] = name
    else
      found.posted, found.buckets[slot] = found.posted + tonumber(value), tonumber(value)
    end
  end
  found.frees = frees(found.buckets, size)
  return found
end

-- What is posted and held, as text.
local function text_of(found)
  local known = found.as_text
  if known then
    return known[1], known[2]
  end
  return text(found.posted), text(found.held)
end

-- One balance as replies say it: 'posted held limit frees reason of its freeze'; limit is text.
local function reading(found, limit, frozen)
  local posted, held = text_of(found)
  return posted .. ' ' .. held .. ' ' .. limit .. ' ' .. found.frees .. ' ' .. frozen
end
