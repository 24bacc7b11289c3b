"""What Redis does in one step: the history of channels, as scripts in Lua. PURE.

As in `history`, a channel's messages are numbered from 1 on, and an epoch tells to which
numbering a number belongs. All that is remembered of all channels is in two keys, `places`
and `ages`, and the messages of each in a stream, whose entries are called OFFSET-MILLISECONDS.
What is forgotten is forgotten by the step that makes room; keys expire besides, so that
nothing stays for ever where nobody publishes any more. Times are those of the server's clock.

`places` is a hash. It has, by the name of a channel's stream, five numbers: that of its
epoch, the last offset, the first that is kept, since when that is there, and octets of all
that are kept; and, by names that no stream has,

    id         what the epochs of this server begin with
    count      how many were given: an odd one is a channel's, an even one is told of
               channels that have nothing yet
    forgotten  the largest of a channel that was forgotten, -1 if none
    octets     those of all channels

`ages` has the streams by when they were published on last.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs

from ..channels import Position
from ..config import Config
from .framing import EPOCH, LARGEST

ENTRY_OVERHEAD = 250
"""Octets that it takes to keep a message, besides its own."""

CHANNEL_OVERHEAD = 1000
"""Octets that it takes to remember a channel, besides its name."""

MOST_CHANNELS = 1_000_000
"""Channels that are remembered; of more, those published on longest ago are forgotten."""

PAGE = 64
"""Messages that are given at once."""

PAGE_OCTETS = 1024 * 1024
"""Octets of them after which no more are given, though there is room."""

REMEMBERED = 86_400.0
"""Seconds for which a channel's place is remembered at least, after its last message."""

LONGEST = 30 * 86_400.0
"""And at most, with all that is kept, where messages are kept for any time."""

SEEN = 3600.0
"""Seconds for which it is known what a node published last."""

_COMMON = """
local places, ages, stream = KEYS[1], KEYS[2], KEYS[3]
local ENTRY, CHANNEL = ENTRY_OCTETS, CHANNEL_OCTETS
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function unpacked(packed)
  if not packed then return nil end
  local number, last, first, since, octets =
    string.match(packed, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not number then return nil end
  return {number = tonumber(number), last = tonumber(last), first = tonumber(first),
          since = tonumber(since), octets = tonumber(octets)}
end

local function packed(place)
  return string.format('%.0f %.0f %.0f %.0f %.0f',
                       place.number, place.last, place.first, place.since, place.octets)
end

local kept = redis.call('HMGET', places, 'id', 'count', 'forgotten', 'octets', stream)
local id, count = kept[1], tonumber(kept[2])
local forgotten, octets = tonumber(kept[3]), tonumber(kept[4])
local place = unpacked(kept[5])

local function begin_all(fresh)
  -- Nothing that was told before holds any more.
  redis.call('UNLINK', places, ages)
  id, count, forgotten, octets, place = fresh, 0, -1, 0, nil
  redis.call('HSET', places, 'id', id, 'count', '0', 'forgotten', '-1', 'octets', '0')
end

local function epoch(number)
  return id .. '.' .. whole(number)
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
local fresh, size, lasts, most, channels = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5])
local remembered, known_for, publish = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local sequence, body = ARGV[9], ARGV[10]

local before = redis.call('GET', seen)
if before and tonumber(before) and tonumber(before) >= tonumber(sequence) then
  return {0, '', 0, -1, 0}
end
-- First of all what writes and takes memory: where it may not, nothing is done.
redis.call('SET', seen, sequence, 'PX', known_for)
if not (id and count and forgotten and octets) then begin_all(fresh) end

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
  local there = redis.call('ZCARD', ages)
  if there >= channels then
    local oldest = redis.call('ZRANGE', ages, 0, 0)[1]
    forget(oldest, unpacked(redis.call('HGET', places, oldest)))
  end
  if redis.call('TYPE', stream).ok == 'stream' then redis.call('UNLINK', stream) end
  count = count + 2
  place = {number = count - 1, last = 0, first = 1, since = now, octets = CHANNEL + #stream}
  octets = octets + place.octets
end

local wrong = 0
if lasts > 0 and place.first <= place.last and place.since + lasts <= now
    and redis.call('EXISTS', stream) == 0 then
  -- All of it was too old.
  octets = octets - place.octets + CHANNEL + #stream
  place.octets, place.first = CHANNEL + #stream, place.last + 1
end
place.last = place.last + 1
local needed = ENTRY + #body
if CHANNEL + #stream + needed > most then
  -- It is passed on, but not kept, and what came before it leads nowhere.
  redis.call('UNLINK', stream)
  octets = octets - place.octets + CHANNEL + #stream
  place.octets, place.first = CHANNEL + #stream, place.last + 1
else
  local entry = whole(place.last) .. '-' .. whole(now)
  local added = redis.pcall('XADD', stream, entry, '1', body)
  if added.err and redis.call('TYPE', stream).ok == 'stream' then
    -- Somebody else has added to it.
    redis.call('UNLINK', stream)
    octets = octets - place.octets + CHANNEL + #stream
    place.octets, place.first = CHANNEL + #stream, place.last
    added = redis.pcall('XADD', stream, entry, '1', body)
    wrong = 1
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

redis.call('ZADD', ages, whole(now), stream)
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

redis.call('HSET', places, 'count', whole(count), 'forgotten', whole(forgotten),
           'octets', whole(octets), stream, packed(place))
if place.first <= place.last then
  redis.call('PEXPIRE', stream, lasts > 0 and lasts or whole(remembered))
end
if place.last % 16 == 1 then
  redis.call('PEXPIRE', places, whole(2 * remembered))
  redis.call('PEXPIRE', ages, whole(2 * remembered))
end
local numbered = epoch(place.number)
local heard = redis.call(publish, said, table.concat(
  {'1', whole(place.last), numbered, whole(now), body}, ' '))
return {place.last, numbered, now, heard, wrong}
"""
)

LOOK = (
    _COMMON
    + """
local fresh, since, since_epoch, mark = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not (id and count and forgotten and octets) then begin_all(fresh) end
local rolled = 0
if place and since and since_epoch == epoch(place.number) then
  if since > place.last then
    rolled = 1
  elseif mark ~= '' and redis.call('TYPE', stream).ok == 'stream' then
    local there = redis.call('XRANGE', stream, whole(since), whole(since))[1]
    if there and string.sub(there[2][2], 1, #mark) ~= mark then rolled = 1 end
  end
end
if rolled == 1 then
  -- What somebody has was never published, by what is known here: number anew.
  forget(stream, place)
  place = nil
  redis.call('HSET', places, 'forgotten', whole(forgotten), 'octets', whole(octets))
end
if not place then return {0, epoch(count), rolled} end
return {place.last, epoch(place.number), rolled}
"""
)

SINCE = (
    _COMMON
    + """
local fresh, since, since_epoch = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local lasts, most, most_octets = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not (id and count and forgotten and octets) then begin_all(fresh) end
local last, first, at = 0, 1, epoch(count)
if place then last, first, at = place.last, place.first, epoch(place.number) end
local gap = {1, last, at}

local own, number = string.match(since_epoch, '^(.*)%.(%d+)$')
if own ~= id then return gap end
number = tonumber(number)
if not place or number ~= place.number then
  -- Right only for one who was there before the channel's first message, and
  -- if none that began since was forgotten: it might have been this one.
  local begun = place and place.number or count
  if since ~= 0 or number <= forgotten or number > begun then return gap end
end
if since + 1 < first or since > last then return gap end
local page = {0, last, at}
if since == last then return page end
if redis.call('TYPE', stream).ok ~= 'stream' then return gap end
local size = 0
while since < last and (#page - 3) / 2 < most and size < most_octets do
  local entries = redis.call('XRANGE', stream, whole(since + 1), whole(last), 'COUNT', 8)
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    local offset, time = string.match(entry[1], '^(%d+)-(%d+)$')
    if tonumber(offset) ~= since + 1 or (#page - 3) / 2 >= most then
      return #page > 3 and page or gap
    end
    if lasts > 0 and #page == 3 and tonumber(time) + lasts <= now then return gap end
    since = since + 1
    size = size + #entry[2][2]
    page[#page + 1] = entry[1]
    page[#page + 1] = entry[2][1] == '1' and entry[2][2] or ''
  end
end
return #page > 3 and page or gap
"""
)


@attrs.frozen
class Terms:
    """What of each channel is kept in Redis, and of all together, as a configuration says."""

    size: int
    seconds: float
    octets: int
    channels: int = MOST_CHANNELS

    @classmethod
    def of(cls, config: Config) -> Terms | None:
        """Those of a configuration; None where it asks for no history."""
        if not config.history_size:
            return None
        return cls(config.history_size, config.history_seconds, config.history_bytes)

    @property
    def milliseconds(self) -> int:
        """How long messages are kept; 0 for any time."""
        return math.ceil(self.seconds * 1000)

    @property
    def remembered(self) -> int:
        """For how many milliseconds it is remembered where a channel is."""
        return int(1000 * (max(self.seconds, REMEMBERED) if self.seconds else LONGEST))


class AnswerError(ValueError):
    """A script answered what it never does."""

    def __init__(self) -> None:
        super().__init__("an answer that makes no sense")


class Appended(NamedTuple):
    """What became of a message that was appended, and published."""

    nodes: int
    """How many heard it; -1 where it was published before, and is not again."""
    healed: bool = False
    """Whether the stream of its channel was not what it should be."""


class Place(NamedTuple):
    """Where a channel is now."""

    position: Position
    rolled: bool = False
    """Whether what somebody has is nothing that Redis knows of: it has lost its end."""


class Page(NamedTuple):
    """Some of what came on a channel: pairs of what an entry is called, and what is in it."""

    position: Position
    gap: bool
    entries: list[tuple[bytes, bytes]]


def to_append(
    terms: Terms, fresh: str, publish: bytes, sequence: int, body: bytes
) -> list[bytes | str | int]:
    """The arguments of `APPEND`. `fresh` is what epochs are to begin with, where none do yet."""
    kept = [terms.size, terms.milliseconds, terms.octets, terms.channels]
    for_as_long = [terms.remembered, int(SEEN * 1000)]
    return [fresh, *kept, *for_as_long, publish, sequence, body]


def to_look(fresh: str, at: Position | None, mark: bytes) -> list[bytes | str | int]:
    """The arguments of `LOOK`: whether the message `at` a place begins with a mark, too."""
    if at is None:
        return [fresh, "", "", mark]
    return [fresh, at.offset, at.epoch, mark]


def to_read(terms: Terms, fresh: str, since: Position) -> list[bytes | str | int]:
    """The arguments of `SINCE`."""
    return [fresh, since.offset, since.epoch, terms.milliseconds, PAGE, PAGE_OCTETS]


def appended(said: Any) -> Appended:
    """What `APPEND` answered. Raises `AnswerError`."""
    match said:
        case [int(), bytes(), int(), int(nodes), int(healed)]:
            return Appended(nodes, bool(healed))
    raise AnswerError


def looked(said: Any) -> Place:
    """What `LOOK` answered. Raises `AnswerError`."""
    match said:
        case [int(last), bytes(epoch), int(rolled)]:
            return Place(_position(last, epoch), bool(rolled))
    raise AnswerError


def read(said: Any) -> Page:
    """What `SINCE` answered. Raises `AnswerError`."""
    match said:
        case [int(gap), int(last), bytes(epoch), *rest] if len(rest) % 2 == 0:
            if all(type(each) is bytes for each in rest):
                entries = list(zip(rest[::2], rest[1::2], strict=True))
                return Page(_position(last, epoch), bool(gap), entries)
    raise AnswerError


def _position(last: int, epoch: bytes) -> Position:
    text = epoch.decode("latin-1")
    if not 0 <= last < LARGEST or not EPOCH.fullmatch(text):
        raise AnswerError
    return Position(last, text)
