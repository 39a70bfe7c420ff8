-- Joined before the verbs that give and end orders. What they are: governor/ledger/orders.py.

-- The rows of orders in force, but for the one called without: `id until at frozen why said;` each.
local function orders_in_force(admin_key, without, now)
  local kept = {}
  for row in string.gmatch(redis.call('HGET', admin_key, 'orders') or '', '[^;]+;') do
    local id, ends = string.match(row, '^(%S+) (%d+) ')
    if id and id ~= without and now < tonumber(ends) then
      kept[#kept + 1] = row
    end
  end
  return kept
end

-- Keeps these orders and no others, under a new version; and freezes what they freeze, each budget as long as the last
-- of them says.
local function keep_orders(admin_key, rows, version)
  local latest = {}
  for frozen in string.gmatch(redis.call('HGET', admin_key, 'orders') or '', '[^; ]+ %d+ %d+ (%S+) [^;]+;') do
    latest[frozen] = {-1}
  end
  for _, row in ipairs(rows) do
    local ends, frozen, why = string.match(row, '^%S+ (%d+) %d+ (%S+) (%S+) ')
    if tonumber(ends) > (latest[frozen] or {-1})[1] then
      latest[frozen] = {tonumber(ends), why}
    end
  end
  latest['-'] = nil
  for frozen, last in pairs(latest) do
    if last[2] then
      local why = string.gsub(last[2], '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
      redis.call('HSET', admin_key, 'z:' .. frozen, text(last[1]) .. ' ' .. why)
    else
      redis.call('HDEL', admin_key, 'z:' .. frozen)
    end
  end
  redis.call('HSET', admin_key, 'orders', table.concat(rows), 'orders:v', version)
end
