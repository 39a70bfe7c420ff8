-- Joined before settle.lua and release.lua: the two ways a caller ends a hold. The states and the way
-- between them: governor/ledger/lifecycle.py.
local function close(verb)
  local now = clock(ARGV[1])
  local foreign = stranger(KEYS[1], ARGV[2])
  if foreign then
    return foreign
  end
  local n, first = tonumber(ARGV[7]), 10

  -- read
  local hold = redis.call('HMGET', KEYS[5], 'state', 'closing', 'member', 'amounts', 'charges', 'detail')
  local state, detail = hold[1], hold[6]
  local ended = state == 'settled' or state == 'released' or state == 'settled_late'
  if (ended and hold[2] ~= ARGV[4]) or (state and not ended and hold[3] ~= ARGV[6]) then
    return {'conflict', state}
  end

  local identities, windows, file_limits, refs = {}, {}, {}, {}
  for i = 1, n do
    local at = first + 6 * (i - 1)
    identities[i], windows[i], file_limits[i] = ARGV[at], ARGV[at + 1], ARGV[at + 3]
    refs[i] = table.concat({ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}, ';')
  end
  local limits, frozen = in_force(KEYS[2], identities, windows, file_limits, now)

  if not ended then
    -- decide
    local late = state == 'expired'
    local held, charges = split(hold[4] or ''), split(hold[5] or '')
    local overrun, amounts, report = '0', {}, {}
    local new_state = late and 'settled_late' or (verb == 'settle' and 'settled' or 'released')

    -- write
    for i = 1, n do
      local at = first + 6 * (i - 1)
      local amount = ARGV[at + 5]
      amounts[i] = amount
      if state and tonumber(amount) > tonumber(held[i]) then
        overrun = '1'
      end
      local posted = late and text(tonumber(amount) - tonumber(charges[i])) or amount
      local freed = state == 'open' and text(-tonumber(held[i])) or '0'
      post(report, i - 1, KEYS[5 + i], ARGV[at + 2], ARGV[at + 3], limits[i], ARGV[at + 4], posted,
        freed == '-0' and '0' or freed, now)
    end
    detail = 'overrun=' .. overrun .. ' unknown=' .. (state and '0' or '1') .. ' posted=' .. table.concat(amounts, ',')
      .. ' crossed=' .. table.concat(report, ',') .. (state and '' or ' refs=' .. table.concat(refs, ','))
    state = new_state
    redis.call('HSET', KEYS[5], 'state', state, 'closing', ARGV[4], 'detail', detail)
    redis.call('HDEL', KEYS[5], 'amounts', 'charges', 'ends', 'limits', 'steps', 'member')
    redis.call('PEXPIRE', KEYS[5], ARGV[9])
    redis.call('ZREM', KEYS[3], ARGV[6])
    journal(KEYS[4], verb, ARGV[3], now, state, detail, ARGV[5])
  end

  local reply = {'closed', text(now), state, detail, ARGV[7]}
  for i = 1, n do
    local row, k = redis.call('HMGET', KEYS[5 + i], 'posted', 'held'), #reply
    reply[k + 1], reply[k + 2], reply[k + 3], reply[k + 4] = row[1] or '0', row[2] or '0', text(limits[i]), frozen[i]
  end
  for _, member in ipairs(due(KEYS[3], now, ARGV[8])) do
    reply[#reply + 1] = member
  end
  return reply
end
