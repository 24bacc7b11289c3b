"""Keep the history of channels in Redis, by scripts in Lua that are one step each. PURE.

As in `history`, a channel's messages are numbered from 1 on, and an epoch tells to which numbering
a number belongs. Two keys, `places` and `ages`, hold the state of all channels. A stream for each
channel holds its messages, whose entries have the names OFFSET-MILLISECONDS. The step that makes
room forgets old messages. Keys expire too, so that nothing stays for ever if nobody publishes any
more. Times are those of the server's clock.

`places` is a hash. By the name of a channel's stream it has these fields, in this order: the
channel's number, the last offset, the first offset that is kept, the time of that message, the
octets of all kept messages, the beginning of the channel's epoch, the sum of the numbers, and the
beginning of the epoch once more, so that a changed octet shows. By names that no stream has, it has

    id         the beginning of all data, and of epochs of channels without messages
    count      the last number given: a channel gets an odd one, and channels without messages are
               told an even one
    forgotten  the largest number of a forgotten channel, -1 if there is none
    octets     those of all channels
    sum        of these three

`ages` has the streams by the time of their last message. `seen`, one for each node, has the number
of the node's last message, the beginning of its numbers there, and a sum.

These rules hold:

1. No epoch comes again. Each call brings new random octets, `fresh`, and a call is made once. All
   data or a channel that begins with them has an epoch that was never there before, even if the
   server lost the end of its data and counts anew.
2. A message is taken only after the one that its node names: if `id` and `seen` are as it says.
   Otherwise the answer is what they are, and no message is touched.
3. A script reads only data that a script wrote: numbers have at most 15 digits and the right sum.
   Otherwise all data begins anew. So nodes can read every answer.
4. Data that may be wrong begins anew, so that a client that comes back is told of a gap.

The Lua text must be the same on all nodes that share a prefix.
"""

from __future__ import annotations

ENTRY_OVERHEAD = 250
"""Octets that a message in a stream takes besides its own, as counted for `--history-bytes`."""

CHANNEL_OVERHEAD = 1000
"""Octets that a remembered channel takes besides its name."""

_COMMON = """
local places, ages, stream = KEYS[1], KEYS[2], KEYS[3]
local fresh = ARGV[1]
local ENTRY, CHANNEL = ENTRY_OCTETS, CHANNEL_OCTETS
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- The sum of numbers. If a number was changed, the sum differs, but for one time in 9973.
local function sum(a, b, c, d, e)
  return (a * 3 + b * 7 + c * 11 + d * 13 + e * 17) % 9973
end

local kept = redis.call('HMGET', places, 'id', 'count', 'forgotten', 'octets', 'sum', stream)
local id, count, forgotten = kept[1], tonumber(kept[2]), tonumber(kept[3])
local octets, place, wrong = tonumber(kept[4]), nil, 0

local function unpacked(packed)
  if not packed or #packed > 150 then return nil end
  local number, last, first, since, octets, own, proof =
    string.match(packed, '^(%d+) (%d+) (%d+) (%d+) (%d+) ([%w_-]+) (%d+) %6$')
  if not number then return nil end
  number, last, first = tonumber(number), tonumber(last), tonumber(first)
  since, octets = tonumber(since), tonumber(octets)
  if #own > 40 or sum(number, last, first, since, octets) ~= tonumber(proof)
      or number >= count or last >= 1e15 or first > last + 1 then
    return nil
  end
  return {number = number, last = last, first = first, since = since, octets = octets, own = own}
end

local function packed(place)
  return string.format('%.0f %.0f %.0f %.0f %.0f %s %.0f %s',
                       place.number, place.last, place.first, place.since, place.octets, place.own,
                       sum(place.number, place.last, place.first, place.since, place.octets),
                       place.own)
end

local function common()
  return 'count', whole(count), 'forgotten', whole(forgotten), 'octets', whole(octets),
    'sum', sum(count, forgotten, octets, 0, 0)
end

local function begin_all()
  -- Nothing that was told before holds any more.
  redis.call('UNLINK', places, ages)
  id, count, forgotten, octets, place = fresh, 0, -1, 0, nil
  redis.call('HSET', places, 'id', id, common())
end

local sound = id and #id <= 40 and string.match(id, '^[%w_-]+$')
  and count and forgotten and octets and count < 1e15
  and sum(count, forgotten, octets, 0, 0) == tonumber(kept[5])
if sound then place = unpacked(kept[6]) end
if not sound or (kept[6] and not place) then
  wrong = redis.call('EXISTS', places)
  begin_all()
end

local function epoch(place)
  if place then return place.own .. '.' .. whole(place.number) end
  return id .. '.' .. whole(count)
end

local function forget(name, known)
  redis.call('HDEL', places, name)
  redis.call('ZREM', ages, name)
  if redis.call('TYPE', name).ok == 'stream' then redis.call('UNLINK', name) end
  if known then
    octets = octets - known.octets
    forgotten = math.max(forgotten, known.number)
  end
end
""".replace("ENTRY_OCTETS", str(ENTRY_OVERHEAD)).replace("CHANNEL_OCTETS", str(CHANNEL_OVERHEAD))

APPEND = (
    _COMMON
    + """
local seen, said = KEYS[4], KEYS[5]
local life, after, anew, sequence = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local size, lasts, most, channels = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]),
  tonumber(ARGV[9])
local remembered, known_for, publish, body = tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13]

if not place and redis.call('HLEN', places) ~= redis.call('ZCARD', ages) + 5 then
  wrong = 1
  begin_all()
end
local before, last, chain, proof = redis.pcall('GET', seen), nil, nil, nil
if type(before) == 'string' and #before <= 60 then
  last, chain, proof = string.match(before, '^(%d+) ([%w_-]+) (%d+)$')
end
if not last or #last > 15 or sum(tonumber(last), 0, 0, 0, 0) ~= tonumber(proof) then
  if before then wrong = 1 end
  last, chain = '0', fresh
  redis.call('SET', seen, '0 ' .. chain .. ' 0', 'PX', known_for)
end
if anew == '1' and life == id .. '.' .. chain and last == after then
  -- It has taken numbers that it does not know any more, and so lost the end of all.
  begin_all()
end
if life ~= id .. '.' .. chain or last ~= after then
  return {id .. '.' .. chain, tonumber(last), wrong}
end
local stamp = whole(now)
if size == 0 then
  -- Nothing is kept of the channel: the message has no number, and what others kept leads nowhere.
  redis.call('SET', seen, sequence .. ' ' .. chain .. ' ' .. sum(tonumber(sequence), 0, 0, 0, 0),
             'PX', known_for)
  if place then
    forget(stream, place)
    redis.call('HSET', places, common())
  end
  if sequence % 16 == 1 then redis.call('PEXPIRE', places, whole(2 * remembered)) end
  return {redis.call(publish, said, '1 0 - ' .. stamp .. ' ' .. body), wrong}
end
-- First of all what takes memory, or may be something else: where it may not, nothing is done.
redis.call('ZADD', ages, stamp, stream)
redis.call('SET', seen, sequence .. ' ' .. chain .. ' ' .. sum(tonumber(sequence), 0, 0, 0, 0),
           'PX', known_for)

-- Numbers anew what is published from now on on the channel.
local function begin_channel()
  if place then
    octets = octets - place.octets
    forgotten = math.max(forgotten, place.number)
  end
  if redis.call('TYPE', stream).ok == 'stream' then redis.call('UNLINK', stream) end
  count = count + 2
  place = {number = count - 1, last = 0, first = 1, since = now, octets = CHANNEL + #stream,
           own = fresh}
  octets = octets + place.octets
end

-- The oldest entries of a stream, some of them, those that are no newer than `oldest`.
local function drop(name, known, some, oldest)
  local after = known.first + some
  -- An error, where it is something else: then there are none.
  local entries = redis.pcall('XRANGE', name, '-', whole(after), 'COUNT', some + 1)
  local ids, left = {}, nil
  for _, entry in ipairs(entries) do
    local offset, since = string.match(entry[1], '^(%d+)-(%d+)$')
    if tonumber(offset) >= after or (oldest and tonumber(since) > oldest) then
      left, known.since = tonumber(offset), tonumber(since)
      break
    end
    ids[#ids + 1] = entry[1]
    known.octets = known.octets - ENTRY - #entry[2][2]
    octets = octets - ENTRY - #entry[2][2]
  end
  if #ids > 0 then
    redis.call('XDEL', name, unpack(ids))
  elseif not left and not entries.err then
    -- The server had no room for it, and what came since leads nowhere.
    redis.call('UNLINK', name)
  end
  known.first = left or known.last + 1
  if not left then
    octets = octets - known.octets + CHANNEL + #name
    known.octets = CHANNEL + #name
  end
end

-- Those that nobody published on for so long that nobody asks any more: more than come.
for _ = 1, place and place.last % 16 > 0 and 0 or 32 do
  local oldest = redis.call('ZRANGE', ages, 0, 0, 'WITHSCORES')
  if not oldest[1] or tonumber(oldest[2]) + remembered > now then break end
  if oldest[1] == stream then break end
  forget(oldest[1], unpacked(redis.call('HGET', places, oldest[1])))
end

if not place then
  if redis.call('ZCARD', ages) > channels then
    local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
    forget(oldest, unpacked(redis.call('HGET', places, oldest)))
  end
  begin_channel()
end

if lasts > 0 and place.first <= place.last and place.since + lasts <= now
    and redis.call('EXISTS', stream) == 0 then
  -- All of it was too old.
  octets = octets - place.octets + CHANNEL + #stream
  place.octets, place.first = CHANNEL + #stream, place.last + 1
end
place.last = place.last + 1
local offset = whole(place.last)
local needed = ENTRY + #body
if CHANNEL + #stream + needed > most then
  -- It is passed on, but not kept, and what came before it leads nowhere.
  redis.call('UNLINK', stream)
  octets = octets - place.octets + CHANNEL + #stream
  place.octets, place.first = CHANNEL + #stream, place.last + 1
else
  local entry = offset .. '-' .. stamp
  local added = redis.pcall('XADD', stream, entry, '1', body)
  if added.err and redis.call('TYPE', stream).ok == 'stream' then
    wrong = 1
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if newest and newest[2][1] == '1' and string.match(newest[2][2], '^[tb] [%w_-]+ %d+\\n') then
      -- It has messages that its place knows nothing of, so that offsets would come again.
      begin_channel()
      place.last, offset = 1, '1'
      entry = '1-' .. stamp
    else
      -- Somebody else has added to it.
      redis.call('UNLINK', stream)
      octets = octets - place.octets + CHANNEL + #stream
      place.octets, place.first = CHANNEL + #stream, place.last
    end
    added = redis.pcall('XADD', stream, entry, '1', body)
  end
  if added.err then
    -- What is not ours is left alone.
    wrong = 1
    octets = octets - place.octets + CHANNEL + #stream
    place.octets, place.first = CHANNEL + #stream, place.last + 1
  else
    if place.first == place.last then place.since = now end
    place.octets = place.octets + needed
    octets = octets + needed
    local over = place.last - place.first + 1 - size
    if over > 0 then drop(stream, place, math.min(over, 16)) end
    if lasts > 0 and place.since + lasts <= now then drop(stream, place, 16, now - lasts) end
  end
end

for _ = 1, 256 do
  if octets <= most then break end
  local those = redis.call('ZRANGE', ages, 0, 1)
  local oldest = those[1] ~= stream and those[1] or those[2]
  local share = most / redis.call('ZCARD', ages)
  if place.first < place.last and (place.octets > share or not oldest) then
    drop(stream, place, 1)
  elseif not oldest then
    break
  else
    local other = unpacked(redis.call('HGET', places, oldest))
    if other and other.first <= other.last then
      drop(oldest, other, 1)
      redis.call('HSET', places, oldest, packed(other))
    else
      forget(oldest, other)
    end
  end
end

redis.call('HSET', places, stream, packed(place), common())
if place.first <= place.last then
  redis.call('PEXPIRE', stream, lasts > 0 and lasts or whole(remembered))
end
if place.last % 16 == 1 then
  redis.call('PEXPIRE', places, whole(2 * remembered))
  redis.call('PEXPIRE', ages, whole(2 * remembered))
end
local heard = redis.call(publish, said,
  '1 ' .. offset .. ' ' .. epoch(place) .. ' ' .. stamp .. ' ' .. body)
return {heard, wrong}
"""
)

LOOK = (
    _COMMON
    + """
local since, since_epoch, mark = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local rolled = 0
if place and since and since_epoch == epoch(place) then
  if since > place.last then
    rolled = 1
  elseif mark ~= '' and redis.call('TYPE', stream).ok == 'stream' then
    local there = redis.call('XRANGE', stream, whole(since), whole(since))[1]
    if there and string.sub(there[2][2], 1, #mark) ~= mark then rolled = 1 end
  end
end
-- What somebody has was never published, by what is known here: the end of all is lost.
if rolled == 1 then begin_all() end
return {place and place.last or 0, epoch(place), rolled, wrong}
"""
)

SINCE = (
    _COMMON
    + """
local since, since_epoch = tonumber(ARGV[2]), ARGV[3]
local lasts, most, most_octets = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- How many of the last messages are asked for, 0 for those after a position.
local latest = tonumber(ARGV[7])
local last, first, at = 0, 1, epoch(place)
if place then last, first = place.last, place.first end
if latest > 0 then since, since_epoch = math.max(first - 1, last - latest), at end
local gap = {1 + wrong, last, at}

if not place or since_epoch ~= at then
  -- Right only for one who was there before the channel's first message, and
  -- if none that began since was forgotten: it might have been this one.
  local own, number = string.match(since_epoch, '^(.*)%.(%d+)$')
  if own ~= id then return gap end
  number = tonumber(number)
  local begun = place and place.number or count
  if since ~= 0 or number <= forgotten or number > begun then return gap end
end
if since + 1 < first or since > last then return gap end
local page = {0, last, at}
if since == last then return page end
if redis.call('TYPE', stream).ok ~= 'stream' then
  -- All of it may be too old by now.
  return latest > 0 and page or gap
end
local size = 0
while since < last and (#page - 3) / 2 < most and size < most_octets do
  local entries = redis.call('XRANGE', stream, whole(since + 1), whole(last), 'COUNT', 8)
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local offset, time = string.match(entry[1], '^(%d+)-(%d+)$')
    if tonumber(offset) ~= since + 1 or (#page - 3) / 2 >= most then
      return #page > 3 and page or gap
    end
    local is_old = lasts > 0 and #page == 3 and tonumber(time) + lasts <= now
    if is_old and latest == 0 then return gap end
    since = since + 1
    if not is_old then
      size = size + #entry[2][2]
      page[#page + 1] = entry[1]
      page[#page + 1] = entry[2][1] == '1' and entry[2][2] or ''
    end
  end
end
return (#page > 3 or latest > 0 and since == last) and page or gap
"""
)
