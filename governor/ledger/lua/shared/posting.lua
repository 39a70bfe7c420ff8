-- Joined before every verb that changes balances.

-- What tells a hold from others in the expiry set: 'id identity window identity window …'.
local function member(id, keys)
  local words = {id}
  for _, key in ipairs(keys) do
    local k = #words
    words[k + 1], words[k + 2] = parts(key)
  end
  return table.concat(words, ' ')
end

-- The first few expired holds, as they stand in the sorted set: 'id identity window identity window …'.
local function due(expiry_key, now, count)
  return redis.call('ZRANGEBYSCORE', expiry_key, '-inf', text(now), 'LIMIT', '0', count)
end

-- The number of the bucket of a rolling window that holds an instant; '-' where the window does not roll.
local function slot_at(bucket_ms, now)
  return bucket_ms == '0' and '-' or text(math.floor(now / tonumber(bucket_ms)))
end

-- Thresholds newly crossed by a posting that took posted from before to after. steps and crossed are
-- comma-separated basis points, ascending, and after steps '@' and the pace. Returns the new value of crossed and the
-- list of steps to report.
local function crossings(crossed, before, after, limit, steps)
  local pace = tonumber(string.match(steps, '@(%d+)$') or '0')
  steps = string.match(steps, '^[%d,]*')
  local first = string.match(steps, '^%d+')
  if crossed == '' and (not first or after < mark(limit, tonumber(first))) then
    return crossed, {}
  end
  local kept, list, fired = {}, {}, {}
  local lowest = math.min(before, after)
  for step in string.gmatch(crossed, '%d+') do
    if lowest >= mark(limit, math.max(tonumber(step) - 500, 0)) then
      kept[step] = true
      list[#list + 1] = step
    end
  end
  for step in string.gmatch(steps, '%d+') do
    if not kept[step] and after >= mark(limit, math.max(tonumber(step), pace)) then
      list[#list + 1] = step
      fired[#fired + 1] = step
    end
  end
  table.sort(list, function(a, b) return tonumber(a) < tonumber(b) end)
  return table.concat(list, ','), fired
end

-- Makes a balance that is not there yet, keeps the file's limit of the last time it was asked for, and lets go of
-- the buckets that have left a rolling window.
local function ensure(key, found, row, now)
  local end_ms, file_limit, bucket_ms, kept_ms = terms(row)
  if not found.limit then
    redis.call('HSET', key, 'held', '0', 'limit', file_limit, 'end', end_ms, 'bucket', bucket_ms)
    if end_ms ~= '0' then
      redis.call('PEXPIRE', key, text(math.max(tonumber(end_ms) - now, 0) + 35 * 86400000))
    end
  elseif found.limit ~= file_limit then
    redis.call('HSET', key, 'limit', file_limit)
  end
  if #found.stale > 0 then
    redis.call('HDEL', key, unpack(found.stale))
  end
  if kept_ms ~= '0' then
    redis.call('PEXPIRE', key, kept_ms)
  end
end

-- Adds to one balance, to found too, and appends 'index:step:posted:limit' to report for each threshold crossed.
-- posted and held are integer strings to add, limit is the one in force, index counts from 0; slot is the bucket of
-- a rolling window that is posted to: the one in which the hold was opened.
local function post(report, index, key, found, row, limit, posted, held, slot, now)
  local _, _, bucket_ms, _, steps = terms(row)
  ensure(key, found, row, now)
  found.as_text = nil
  if held ~= '0' then
    found.held = redis.call('HINCRBY', key, 'held', held)
  end
  if posted == '0' or (slot ~= '-' and tonumber(slot) < tonumber(slot_at(bucket_ms, now)) - 48) then
    return
  end
  local before = found.posted
  local total = redis.call('HINCRBY', key, slot == '-' and 'posted' or slot, posted)
  found.posted = before + tonumber(posted)
  if slot ~= '-' then
    found.buckets[tonumber(slot)] = total
    found.frees = frees(found.buckets, tonumber(bucket_ms))
  end
  if steps == '' then
    return
  end
  local crossed, fired = crossings(found.crossed, before, found.posted, limit, steps)
  if crossed ~= found.crossed then
    redis.call('HSET', key, 'crossed', crossed)
  end
  for _, step in ipairs(fired) do
    report[#report + 1] = text(index) .. ':' .. step .. ':' .. text(found.posted) .. ':' .. text(limit)
  end
end
