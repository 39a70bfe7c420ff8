-- Joined before an administrator's verbs.

-- Whether an administrator's operation is new; nil and a reply if its id came with another payload.
local function is_new(admin_key, id, payload)
  local known = redis.call('HGET', admin_key, 'op:' .. id)
  if not known then
    redis.call('HSET', admin_key, 'op:' .. id, payload)
    return true
  end
  return false, known ~= payload and {'conflict'} or nil
end

-- Appends an entry ('': none) to a budget's changes of limit, as changed() reads them; those that are over go, and
-- with alone every limit that was set.
local function change(admin_key, identity, entry, alone, now)
  local kept = {}
  for found in string.gmatch(redis.call('HGET', admin_key, 'l:' .. identity) or '', '[^;]+;') do
    local kind, ends = string.match(found, '^([=+])%-?%d+ %d+ (%d+);$')
    if (ends == '0' or now < tonumber(ends)) and not (alone and kind == '=') then
      kept[#kept + 1] = found
    end
  end
  local changes = table.concat(kept) .. entry
  if changes == '' then
    redis.call('HDEL', admin_key, 'l:' .. identity)
  else
    redis.call('HSET', admin_key, 'l:' .. identity, changes)
  end
end

-- Adds to a limit: in one window, or ('') from one instant (0: now) to another (0: never).
local function add(admin_key, identity, window, amount, from, ends, now)
  if window == '' then
    change(admin_key, identity, '+' .. amount .. ' ' .. from .. ' ' .. ends .. ';', false, now)
  else
    redis.call('HINCRBY', admin_key, 'g:' .. identity .. ':' .. window, amount)
  end
end
