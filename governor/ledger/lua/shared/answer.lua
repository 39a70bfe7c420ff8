-- Joined before the verbs that answer a request for more budget.

-- nil where the request may be answered so, else the reply: it was before, or is not what was read.
local function closed(requests_key, id, row, answer)
  local found = redis.call('HMGET', requests_key, 'r:' .. id, 'a:' .. id)
  if not found[1] then
    return {'unknown'}
  elseif found[2] then
    local at, said = string.match(found[2], '^(%d+) (.*)$')
    return said == answer and {'done', at} or {'answered', found[1], found[2]}
  elseif found[1] ~= row then
    return {'changed', found[1]}
  end
  return nil
end
