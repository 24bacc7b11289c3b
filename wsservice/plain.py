"""What is answered to plain HTTP on the port where WebSocket is spoken. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from .page import Page
from .request import UPGRADE_REQUIRED, PlainRequest

TEXT = (("Content-Type", "text/plain; charset=utf-8"),)

_SPEAKS = b"WebSocket is spoken here: connect with ws://, or wss:// over TLS.\n"
_VARY = (("Vary", "Accept"),)
_NOT_ACCEPTED = re.compile(r"q=0(\.0{0,3})?")
"""A weight of nothing (RFC 9110, 12.4.2)."""


@attrs.frozen
class Answer:
    """A response. `what` is for the log, and holds nothing of the peer's."""

    status: int
    what: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


_UPGRADE = Answer(
    426, "refused with 426: no upgrade to websocket", (*UPGRADE_REQUIRED, *TEXT), _SPEAKS
)


def plain_answer(request: PlainRequest, page: Page | None = None) -> Answer:
    """What a request for no WebSocket gets: the page, if there is one and it was asked for.

    The page is at `/`, and for those who name `text/html` as what they accept, as
    browsers do. All else is told to ask for WebSocket.
    """
    if page is None or request.target != "/" or not _accepts_html(request.headers):
        return _UPGRADE
    return Answer(200, "gets the page", (*page.headers, *_VARY), page.body)


def _accepts_html(headers: Mapping[str, str]) -> bool:
    for media_range in headers.get("accept", "").split(","):
        name, *parameters = (each.strip(" \t").lower() for each in media_range.split(";"))
        if name == "text/html":
            return not any(map(_NOT_ACCEPTED.fullmatch, parameters))
    return False
