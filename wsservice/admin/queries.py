"""Parse the queries and bodies of requests for connections."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl

from ..auth.contract import LONGEST_ID, check_user_id
from ..channels.page import MOST_MESSAGES
from ..channels.presence import DEFAULT_LIMIT
from ..channels.query import LONGEST, ChannelError, Position, is_too_long, position_of
from ..config.close_codes import MOST_OF_REASON, SENDABLE, CloseCode, is_sendable
from ..directory import listing, presence
from ..directory.ids import Id
from ..directory.listing import Closing, Wanted
from ..directory.presence import ChannelsWanted

_ALLOWED = "give a limit from 1 to {most}, and the next of the answer before as after"
_CONNECTIONS = _ALLOWED.format(most=listing.MOST)
_CHANNELS = _ALLOWED.format(most=presence.MOST)
_HISTORY = (
    f"give a limit from 1 to {MOST_MESSAGES}, and since with epoch: the next and the epoch of the"
    " answer before"
)
_BODY = 'give nothing, or such as {"code": 1001, "reason": "maintenance"}'

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class WrongError(ValueError):
    """An invalid request. Its text says what is allowed."""


def connections_wanted(query: str, several: bool = False, by_user: bool = False) -> Wanted:
    """Parse the query of a request target. `several` allows ids of other nodes in `after`.

    `by_user` allows `user`, the id of a user. Raises `WrongError` for an unknown parameter, or a
    value out of range.
    """
    allowed = "limit, after and user" if by_user else "limit and after"
    try:
        # Octets that are not UTF-8 become halves of surrogate pairs, which no id may have.
        pairs = parse_qsl(
            query.encode("latin-1").decode(errors="surrogateescape"),
            keep_blank_values=True,
            max_num_fields=16,
            errors="surrogateescape",
        )
    except ValueError:
        raise WrongError(f"the query has too many parameters; give {allowed}") from None
    limit, after, user = Wanted().limit, Id(0), None
    for name, text in pairs:
        if name == "user" and by_user:
            user = user_id(text.encode(errors="surrogateescape"))
            continue
        if name not in ("limit", "after"):
            raise WrongError(f"there is no such parameter; give {allowed}")
        id_ = Id.of(text)
        if id_ is None or (id_.node and not (several and name == "after")):
            raise WrongError(f"{name} is not a number; {_CONNECTIONS}")
        if name == "after":
            after = id_
        else:
            limit = id_.number
    if not 1 <= limit <= listing.MOST:
        raise WrongError(f"limit is out of range; {_CONNECTIONS}")
    return Wanted(limit, after.number, after.node, user)


def user_id(octets: bytes) -> str:
    """Return the id of a user. Raises `WrongError`."""
    try:
        return check_user_id(octets.decode())
    except UnicodeDecodeError:
        raise WrongError("the user's id is not UTF-8, percent-encoded") from None
    except ValueError as error:
        raise WrongError(
            f"{error}; give 1 to {LONGEST_ID} octets of UTF-8 without control characters"
        ) from None


def users_wanted(query: str) -> ChannelsWanted:
    """Parse the query of a request for users. Raises `WrongError`."""
    wanted = channels_wanted(query)
    if wanted.after is not None:
        user_id(wanted.after.encode())
    return wanted


def channels_wanted(query: str) -> ChannelsWanted:
    """Parse the query of a request target. Raises `WrongError`."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        raise WrongError("the query cannot be read; give limit and after") from None
    given = dict(pairs)
    if not given.keys() <= {"limit", "after"}:
        raise WrongError("there is no such parameter; give limit and after")
    text = given.get("limit", str(ChannelsWanted().limit))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= presence.MOST:
        raise WrongError(f"limit is out of range; {_CHANNELS}")
    after = given.get("after")
    if after is not None and is_too_long(after):
        raise WrongError(f"after has more than {LONGEST} octets, which no channel has")
    return ChannelsWanted(int(text), after)


def history_wanted(query: str) -> tuple[int, Position | None]:
    """Parse the query of a request for a history: its limit, and the position to go on from.

    Raises `WrongError`.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        raise WrongError(f"the query cannot be read; {_HISTORY}") from None
    given = dict(pairs)
    if not given.keys() <= {"limit", "since", "epoch"} or len(given) < len(pairs):
        raise WrongError(f"there is no such parameter, or it is there twice; {_HISTORY}")
    text = given.get("limit", str(DEFAULT_LIMIT))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_MESSAGES:
        raise WrongError(f"limit is out of range; {_HISTORY}")
    if given.keys() <= {"limit"}:
        return int(text), None
    if not given.keys() >= {"since", "epoch"}:
        raise WrongError(f"since is there without epoch, or epoch without since; {_HISTORY}")
    try:
        return int(text), position_of(given["since"], given["epoch"])
    except ChannelError:
        raise WrongError(f"since or epoch is malformed; {_HISTORY}") from None


def closing_in(body: bytes) -> Closing:
    """Parse the body of a request to close; an empty one gives the defaults.

    Raises `WrongError`.
    """
    if not body.strip():
        return Closing()
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise WrongError(f"the body is not JSON; {_BODY}") from None
    if not isinstance(said, dict) or not said.keys() <= {"code", "reason"}:
        raise WrongError(f"the body has other content; {_BODY}")
    code, reason = said.get("code", int(CloseCode.NORMAL)), said.get("reason", "")
    if type(code) is not int or not is_sendable(code):
        raise WrongError(f"code cannot be sent; give {SENDABLE}")
    if not isinstance(reason, str) or not _is_short(reason):
        raise WrongError(f"reason is too long; give at most {MOST_OF_REASON} octets of UTF-8")
    return Closing(code, reason)


def _is_short(reason: str) -> bool:
    try:
        return len(reason.encode()) <= MOST_OF_REASON
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
