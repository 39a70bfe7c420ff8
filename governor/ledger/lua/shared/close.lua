-- Joined before settle.lua and release.lua: the two ways a caller ends a hold. The states and the way
-- between them: governor/ledger/lifecycle.py.
local function close(verb)
  local now = clock(ARGV[1])
  local foreign = stranger(KEYS[1], ARGV[2])
  if foreign then
    return foreign
  end
  local n, rows = #KEYS - (ARGV[8] == '' and 5 or 6), 8

  -- read
  local hold = redis.call('HMGET', KEYS[5], 'state', 'closing', 'member', 'rows', 'detail')
  local state, detail = hold[1], hold[5]
  local ended = state == 'settled' or state == 'released' or state == 'settled_late'
  local keys, amounts, own, file_limits, found, refs = {}, {}, {}, {}, {}, {}
  for i = 1, n do
    keys[i] = KEYS[5 + i]
    amounts[i], own[i] = string.match(ARGV[rows + i], '^(%d+) (.*)$')
    local ends, limit, bucket_ms = terms(own[i])
    file_limits[i], found[i] = limit, look(keys[i], bucket_ms, now)
    if not state then
      local identity, window = parts(keys[i])
      refs[i] = table.concat({identity, window, ends, limit, bucket_ms}, ';')
    end
  end
  local named = member(ARGV[3], keys)
  if (ended and hold[2] ~= ARGV[4]) or (state and not ended and hold[3] ~= named) then
    return {'conflict', state}
  end
  local limits, frozen, said = in_force(KEYS[2], keys, file_limits, now)

  if not ended then
    -- decide
    local late = state == 'expired'
    local overrun, report, held = '0', {}, split(hold[4] or '', ';')

    -- write
    for i = 1, n do
      local _, _, bucket_ms = terms(own[i])
      local posted, freed, slot = amounts[i], '0', slot_at(bucket_ms, now)
      if state then
        local promised, charged, opened = string.match(held[i], '^(%d+) (%d+) (%S+)')
        slot = opened
        if tonumber(amounts[i]) > tonumber(promised) then
          overrun = '1'
        end
        if late then
          posted = text(tonumber(amounts[i]) - tonumber(charged))
        elseif promised ~= '0' then
          freed = '-' .. promised
        end
      end
      post(report, i - 1, keys[i], found[i], own[i], limits[i], posted, freed, slot, now)
    end
    detail = 'overrun=' .. overrun .. ' unknown=' .. (state and '0' or '1') .. ' posted=' .. table.concat(amounts, ',')
      .. ' crossed=' .. table.concat(report, ',') .. (state and '' or ' refs=' .. table.concat(refs, ','))
    state = late and 'settled_late' or (verb == 'settle' and 'settled' or 'released')
    redis.call('HSET', KEYS[5], 'state', state, 'closing', ARGV[4], 'detail', detail)
    redis.call('HDEL', KEYS[5], 'rows', 'member')
    redis.call('PEXPIRE', KEYS[5], ARGV[7])
    redis.call('ZREM', KEYS[3], named)
    journal(KEYS[4], verb, ARGV[3], now, state, detail, ARGV[5])
  end

  local reply = {'closed', text(now), state, detail, text(n)}
  for i = 1, n do
    reply[#reply + 1] = reading(found[i], said[i], frozen[i])
  end
  for _, other in ipairs(due(KEYS[3], now, ARGV[6])) do
    reply[#reply + 1] = other
  end
  return carry(reply, ARGV[8], now)
end
