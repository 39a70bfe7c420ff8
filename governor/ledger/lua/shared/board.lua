-- Joined before the verbs that may carry a notice. The rule: governor/ledger/board.py.

-- What others wrote may be anything; a reply that is no UTF-8 would fail the command whose money has been written.
local LONGEST_LINE = 16100 -- 4,000 characters of 4 bytes, and the time

local function is_utf8(s)
  if not string.find(s, '[\128-\255]') then
    return true
  end
  for _, wrong in ipairs({'\224[\128-\159]', '\237[\160-\191]', '\240[\128-\143]', '\244[\144-\191]'}) do
    if string.find(s, wrong) then
      return false -- overlong, a surrogate, or beyond the last character
    end
  end
  s = string.gsub(s, '[\240-\244][\128-\191][\128-\191][\128-\191]', ' ')
  s = string.gsub(s, '[\224-\239][\128-\191][\128-\191]', ' ')
  s = string.gsub(s, '[\194-\223][\128-\191]', ' ')
  return not string.find(s, '[\128-\255]')
end

-- Appends to a reply the lines of other processes, newest first, `process at_ms text` each, and their number; puts
-- this process's own on the board. given: '' (no notice, nothing happens) or `process kept_ms lines`. The board is
-- then the last of KEYS, the text the last of ARGV ('': this process's line goes).
-- Money has been written by now, so nothing here may fail: a user without the right finds the board empty.
local function carry(reply, given, now)
  if given == '' then
    return reply
  end
  local key, said = KEYS[#KEYS], ARGV[#ARGV]
  local process, kept_ms, most = string.match(given, '^(%w+) (%d+) (%d+)$')
  local row, lines, gone = redis.pcall('HGETALL', key), {}, {}
  for i = 1, #row, 2 do
    local other, at = row[i], tonumber(string.match(row[i + 1], '^(%d+) .') or '')
    local told = other ~= process and at and math.abs(now - at) <= tonumber(kept_ms)
    told = told and #row[i + 1] <= LONGEST_LINE and is_utf8(row[i + 1])
    if told and #other <= 32 and string.match(other, '^[a-z0-9]+$') then
      lines[#lines + 1] = {at, other, row[i + 1]}
    elseif other ~= process or said == '' then
      gone[#gone + 1] = other
    end
  end
  table.sort(lines, function(a, b) return a[1] > b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = tonumber(most) + 1, #lines do
    gone[#gone + 1] = lines[i][2]
  end
  for _, other in ipairs(gone) do
    redis.pcall('HDEL', key, other)
  end
  if said ~= '' then
    redis.pcall('HSET', key, process, text(now) .. ' ' .. said)
    redis.pcall('PEXPIRE', key, kept_ms)
  end
  local count = math.min(#lines, tonumber(most))
  for i = 1, count do
    reply[#reply + 1] = lines[i][2] .. ' ' .. lines[i][3]
  end
  reply[#reply + 1] = text(count)
  return reply
end
