#!lua
-- Move keys of layout 1 to layout 2, each as a whole; a key that is gone has been moved or has expired.
-- KEYS  1 the old meta  2 the new meta  then pairs: old key, new key
-- ARGV  1 the old schema  2 the marker of a migration that is under way  3 the new schema
--       4 '1': these are the last, so the marker moves too
-- Reply {'ok', how many were moved}   {'no_ledger'}   {'other_schema', found}
local found = redis.call('HGET', KEYS[1], 'schema')
if not found then
  return {'no_ledger'}
elseif found ~= ARGV[1] and found ~= ARGV[2] then
  return {'other_schema', found}
end

-- Limits that were set: 'amount until' becomes a list of changes.
local function administration(key)
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do
    local amount, ends = string.match(row[i + 1], '^(%d+) (%d+)$')
    if amount and string.sub(row[i], 1, 2) == 'l:' then
      redis.call('HSET', key, row[i], '=' .. amount .. ' 0 ' .. ends .. ';')
    end
  end
end

-- A hold not ended for good: five lists become one list of rows.
local function hold(key)
  local row = redis.call('HMGET', key, 'amounts', 'charges', 'ends', 'limits', 'steps')
  if not row[1] then
    return
  end
  local charges, ends, limits = split(row[2], ','), split(row[3], ','), split(row[4], ',')
  local steps, rows = {}, {}
  for part in string.gmatch(row[5], '([^;]*);') do
    steps[#steps + 1] = part
  end
  for i, amount in ipairs(split(row[1], ',')) do
    rows[i] = amount .. ' ' .. charges[i] .. ' - ' .. ends[i] .. ' ' .. limits[i] .. ' 0 0 ' .. steps[i] .. ';'
  end
  redis.call('HSET', key, 'rows', table.concat(rows))
  redis.call('HDEL', key, 'amounts', 'charges', 'ends', 'limits', 'steps')
end

redis.call('HSET', KEYS[1], 'schema', ARGV[2])
local moved = 0
for i = 3, #KEYS, 2 do
  local old, new = KEYS[i], KEYS[i + 1]
  if redis.call('EXISTS', old) == 1 then
    local kind = string.match(old, '^[^}]*}:(%w+)')
    if kind == 'admin' then
      administration(old)
    elseif kind == 'h' then
      hold(old)
    end
    redis.call('RENAME', old, new)
    moved = moved + 1
  end
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'schema', ARGV[3])
  redis.call('RENAME', KEYS[1], KEYS[2])
end
return {'ok', text(moved)}
