"""The users of an attacked server, for `--auth tests.hostile.people:who`.

Only what connects at `/attack` needs a credential: the harness watches beside it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred

GOOD = "good"


def who(request: Any) -> Any:
    """Return the user of a token: `good`, `never`, or `is-` with any id, percent-encoded."""
    if request.path != "/attack":
        return "beside"
    token = request.headers.get("authorization", "").partition(" ")[2]
    if token == "never":
        return Deferred()
    if token.startswith("is-"):
        return unquote(token.removeprefix("is-"))
    return "tom" if token == GOOD else None
