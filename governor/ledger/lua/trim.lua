#!lua flags=allow-oom
-- Remove the oldest records of the journal, which the archive has, and every other archive that follows.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema  3 epoch of the archived ledger  4 the first place to keep  5 about how many at most
--       6 place of the archive's last record  7 its kind  8 its id  9 its instant
-- Reply {'trimmed', how many}   {'went_back'}   {'other_epoch', found}   {'no_ledger'}   {'other_schema', found}
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[3] then
  return {'other_epoch', epoch}
end
local own = redis.call('XRANGE', KEYS[2], ARGV[6], ARGV[6])[1]
local fields = own and own[2] or {}
if fields[2] ~= ARGV[7] or fields[4] ~= ARGV[8] or fields[6] ~= ARGV[9] then
  if not own and #redis.call('XRANGE', KEYS[2], '-', ARGV[6], 'COUNT', '1') == 0 then
    return {'trimmed', '0'}
  end
  return {'went_back'}
end
-- The last record that an archive has stays too, so that it can be compared.
local first_to_keep = ARGV[4]
for _, group in ipairs(followers(KEYS[2])) do
  if is_before(group.place, first_to_keep) then
    first_to_keep = group.place
  end
end
-- Whole nodes of the stream first, a bounded number; what is left of the last one at once.
local gone = redis.call('XTRIM', KEYS[2], 'MINID', '~', first_to_keep, 'LIMIT', ARGV[5])
if gone == 0 then
  gone = redis.call('XTRIM', KEYS[2], 'MINID', '=', first_to_keep)
end
return {'trimmed', text(gone)}
