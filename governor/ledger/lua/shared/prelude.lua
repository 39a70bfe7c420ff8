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

-- 'x;y;z;' as a list of strings, split at a separator.
local function split(joined, separator)
  local list = {}
  for part in string.gmatch(joined, '[^' .. separator .. ']+') do
    list[#list + 1] = part
  end
  return list
end

local function journal(key, kind, id, now, outcome, detail, record)
  redis.call('XADD', key, '*', 'kind', kind, 'id', id, 'at', text(now), 'outcome', outcome,
    'detail', detail, 'record', record)
end
