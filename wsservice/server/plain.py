"""Answers to plain HTTP on the WebSocket port. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from ..http.refusal import UPGRADE_REQUIRED, Refusal
from ..http.request import PlainRequest
from .page import Page

_NOSNIFF = ("X-Content-Type-Options", "nosniff")

TEXT = (("Content-Type", "text/plain; charset=utf-8"), _NOSNIFF)

NO_UPGRADE = Refusal(
    426,
    "this port speaks WebSocket",
    "connect with ws://, or with wss:// over TLS",
    headers=UPGRADE_REQUIRED,
    kind="no WebSocket",
    for_operator="health checks have a path of their own with --health-path",
)
LOST_UPGRADE = Refusal(
    426,
    "the WebSocket handshake has no Upgrade header",
    "send Upgrade: websocket; a gateway in front must pass it on (nginx: proxy_http_version 1.1,"
    " proxy_set_header Upgrade $http_upgrade, proxy_set_header Connection upgrade)",
    headers=UPGRADE_REQUIRED,
    kind="no WebSocket",
)

_VARY = (("Vary", "Accept"),)
_NOT_ACCEPTED = re.compile(r"q=0(\.0{0,3})?")
"""A weight of 0, which means "not accepted" (RFC 9110, 12.4.2)."""


@attrs.frozen
class PlainAnswer:
    """A response. `what` is the text for the log, without text from the peer."""

    status: int
    what: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def plain_answer(request: PlainRequest, page: Page | None = None) -> PlainAnswer | Refusal:
    """Return the page, if there is one and the request is for it, or else a refusal.

    The page is at `/`, for clients whose Accept header names `text/html`, as that of browsers
    does. The refusal tells all others to ask for WebSocket.
    """
    if page is None or request.target != "/" or not _accepts_html(request.headers):
        return LOST_UPGRADE if "sec-websocket-key" in request.headers else NO_UPGRADE
    return PlainAnswer(200, "gets the page", (*page.headers, *_VARY), page.body)


def health_answer(is_ready: bool) -> PlainAnswer:
    """Return the answer to a health check: 200, or 503. The reason is told to operators only."""
    status, word = (200, b"true") if is_ready else (503, b"false")
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), _NOSNIFF)
    return PlainAnswer(status, f"health check: {status}", headers, b'{"ready":%s}\n' % word)


def _accepts_html(headers: Mapping[str, str]) -> bool:
    for media_range in headers.get("accept", "").split(","):
        name, *parameters = (each.strip(" \t").lower() for each in media_range.split(";"))
        if name == "text/html":
            return not any(map(_NOT_ACCEPTED.fullmatch, parameters))
    return False
