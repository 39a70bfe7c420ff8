
-- The archives that follow the stream: name, place up to which it has everything, how many records it was said
-- to have had, how many it has not; false where that is not known.
local function followers(key)
  local list = {}
  if redis.call('EXISTS', key) == 0 then
    return list
  end
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = {}
    for i = 1, #row, 2 do
      group[row[i]] = row[i + 1]
    end
    list[#list + 1] = {
      name = group['name'],
      place = group['last-delivered-id'],
      read = group['entries-read'],
      lag = group['lag'],
    }
  end
  return list
end

-- Whether one place of the stream is before another.
local function is_before(one, other)
  local ms, n = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_n = string.match(other, '^(%d+)-(%d+)$')
  ms, n, other_ms, other_n = tonumber(ms), tonumber(n), tonumber(other_ms), tonumber(other_n)
  return ms < other_ms or (ms == other_ms and n < other_n)
end
