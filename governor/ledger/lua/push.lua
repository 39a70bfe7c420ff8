#!lua
-- Make a new version of the policies: the newest is in force in every process, or with no text nobody's but its own.
-- KEYS  1 meta  2 policies  3 journal
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 the newest version when it was decided (0: none)
--       7 what  8 hash ('-': none)  9 of which version (0: none)  10 detail  11 text ('': withdrawn)
--       12 of how many versions the text is kept
-- Reply {'pushed', version, about}   {'overtaken', newest version, about}   {'conflict'}   {'no_ledger'}
--       {'other_schema', found}
local now = clock(ARGV[1])
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local known = redis.call('HGET', KEYS[2], 'op:' .. ARGV[3])
if known then
  local payload, made = string.match(known, '^(%S+) (%d+)$')
  if payload ~= ARGV[4] then
    return {'conflict'}
  end
  return {'pushed', made, redis.call('HGET', KEYS[2], 'about:' .. made)}
end
local newest = string.match(redis.call('HGET', KEYS[2], 'head') or '0', '^%d+')
if newest ~= ARGV[6] then
  return {'overtaken', newest, redis.call('HGET', KEYS[2], 'about:' .. newest) or ''}
end
local number = tonumber(newest) + 1
local version = text(number)
local about = table.concat({text(now), ARGV[3], ARGV[7], ARGV[8], ARGV[9], ARGV[5]}, ' ')
redis.call('HSET', KEYS[2], 'head', version .. ' ' .. ARGV[3], 'about:' .. version, about,
  'text:' .. version, ARGV[11], 'op:' .. ARGV[3], ARGV[4] .. ' ' .. version)
redis.call('HDEL', KEYS[2], 'text:' .. text(number - tonumber(ARGV[12])))
journal(KEYS[3], 'policy', ARGV[3], now, ARGV[7], 'version=' .. version .. ' ' .. ARGV[10], ARGV[5])
return {'pushed', version, about}
