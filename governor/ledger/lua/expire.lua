#!lua flags=allow-oom
-- Close the holds whose time is over; one that is not due, or has ended, is left as it is.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  then per hold: hold, its balances
-- ARGV  1 now_ms or ''  2 schema  3 ms for which the closed hold is remembered  4 holds n
--       then per hold: id  balances b  then per balance: identity  window
-- Reply {'expired', now, n, then per hold expired by this call: id, crossings}
--       {'no_ledger'}   {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local reply, key, arg = {'expired', text(now)}, 5, 5
for _ = 1, tonumber(ARGV[4]) do
  local hold_key, id, count = KEYS[key], ARGV[arg], tonumber(ARGV[arg + 1])
  local hold = redis.call('HMGET', hold_key, 'state', 'expires', 'member', 'amounts', 'charges', 'ends', 'limits', 'steps')
  if hold[1] == 'open' and tonumber(hold[2]) <= now then
    local amounts, charges, ends, limits = split(hold[4]), split(hold[5]), split(hold[6]), split(hold[7])
    local report, steps = {}, {}
    for part in string.gmatch(hold[8], '([^;]*);') do
      steps[#steps + 1] = part
    end
    local identities, windows = {}, {}
    for i = 1, count do
      identities[i], windows[i] = ARGV[arg + 2 * i], ARGV[arg + 2 * i + 1]
    end
    local in_force_limits = in_force(KEYS[2], identities, windows, limits, now)
    for i = 1, count do
      local freed = amounts[i] == '0' and '0' or '-' .. amounts[i]
      post(report, i - 1, KEYS[key + i], ends[i], limits[i], in_force_limits[i], steps[i], charges[i], freed, now)
    end
    local crossed = table.concat(report, ',')
    local detail = 'overrun=0 unknown=0 posted=' .. hold[5] .. ' crossed=' .. crossed
    redis.call('HSET', hold_key, 'state', 'expired', 'detail', detail)
    redis.call('PEXPIRE', hold_key, ARGV[3])
    redis.call('ZREM', KEYS[3], hold[3])
    journal(KEYS[4], 'expire', id, now, 'expired', detail, '{}')
    reply[#reply + 1] = id
    reply[#reply + 1] = crossed
  end
  key, arg = key + 1 + count, arg + 2 + 2 * count
end
return reply
