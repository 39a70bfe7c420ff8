#!lua flags=allow-oom
-- Note up to where an archive has the journal: the place of its consumer group, which is made if it is missing.
-- KEYS  1 meta  2 journal
-- ARGV  1 now_ms or ''  2 schema  3 epoch of the archived ledger  4 name of the group
--       5 place of the archive's last record ('0-0': none)  6 the place before that  7 records since then
-- Reply {'follows'}   {'other_epoch', found}   {'no_ledger'}   {'other_schema', found}
local foreign = stranger(KEYS[1], ARGV[2])
if foreign then
  return foreign
end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[3] then
  return {'other_epoch', epoch}
end

local function find()
  for _, group in ipairs(followers(KEYS[2])) do
    if group.name == ARGV[4] then
      return group
    end
  end
  return nil
end

local group = find()
if not group then
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[4], ARGV[5], 'MKSTREAM')
  group = find()
elseif group.place == ARGV[6] and group.read then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[4], ARGV[5], 'ENTRIESREAD', text(group.read + tonumber(ARGV[7])))
  return {'follows'}
elseif group.place ~= ARGV[5] then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[4], ARGV[5])
  group = find()
end
-- Redis tells the lag of a group at either end of the stream; from there on it is counted.
if not group.read and group.lag then
  local stream = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #stream, 2 do
    if stream[i] == 'entries-added' then
      local read = text(stream[i + 1] - group.lag)
      redis.call('XGROUP', 'SETID', KEYS[2], ARGV[4], ARGV[5], 'ENTRIESREAD', read)
    end
  end
end
return {'follows'}
