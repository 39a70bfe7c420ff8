#!lua flags=allow-oom
-- Close the holds whose time is over; one that is not due, or has ended, is left as it is.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  then per hold: hold, its balances
-- ARGV  1 now_ms or ''  2 schema  3 ms for which the closed hold is remembered
--       then per hold: id  balances b
-- Reply {'expired', now, n, then per hold expired by this call: id, crossings}
--       {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end

-- Posts what an expiry charges and frees what was held; returns what was posted and the crossings.
local function close(keys, rows)
  local file_limits, found, own, report, posted = {}, {}, {}, {}, {}
  for i, row in ipairs(rows) do
    local amount, charge, slot, rest = string.match(row, '^(%d+) (%d+) (%S+) (.*)$')
    local _, limit, bucket_ms = terms(rest)
    own[i], posted[i] = {amount, slot, rest}, charge
    file_limits[i], found[i] = limit, look(keys[i], bucket_ms, now)
  end
  local limits = in_force(KEYS[2], keys, file_limits, now)
  for i, row in ipairs(own) do
    local freed = row[1] == '0' and '0' or '-' .. row[1]
    post(report, i - 1, keys[i], found[i], row[3], limits[i], posted[i], freed, row[2], now)
  end
  return table.concat(posted, ','), table.concat(report, ',')
end

local reply, key = {'expired', text(now)}, 5
for arg = 4, #ARGV, 2 do
  local hold_key, id, count = KEYS[key], ARGV[arg], tonumber(ARGV[arg + 1])
  local hold = redis.call('HMGET', hold_key, 'state', 'expires', 'member', 'rows')
  local keys = {unpack(KEYS, key + 1, key + count)}
  if hold[1] == 'open' and tonumber(hold[2]) <= now then
    local posted, crossed = close(keys, split(hold[4], ';'))
    local detail = 'overrun=0 unknown=0 posted=' .. posted .. ' crossed=' .. crossed
    redis.call('HSET', hold_key, 'state', 'expired', 'detail', detail)
    redis.call('PEXPIRE', hold_key, ARGV[3])
    redis.call('ZREM', KEYS[3], hold[3])
    journal(KEYS[4], 'expire', id, now, 'expired', detail, '{}')
    reply[#reply + 1] = id
    reply[#reply + 1] = crossed
  elseif hold[1] ~= 'open' then
    -- Ended, or deleted from outside: named as due for ever, it would keep others from being reaped.
    redis.call('ZREM', KEYS[3], member(id, keys))
  end
  key = key + 1 + count
end
return reply
