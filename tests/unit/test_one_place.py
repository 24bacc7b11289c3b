"""Logic that stood in several modules stands in one: each pattern is found in its home only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wsservice

ROOT = Path(wsservice.__file__).parent

HOMES = {
    # The characters of a token (RFC 9110, 5.6.2), and those of a host's name.
    r"\+\.\^_`\|~0-9A-Za-z-": {"http/grammar.py"},
    r"A-Za-z0-9\._~-": {"http/grammar.py"},
    # The characters of a header's value.
    r"\\t -~\\x80-\\xff": {"http/grammar.py"},
    # The status line of an answer. That of a 101 is a constant, since every handshake needs it.
    r"HTTP/1\.1 (?:\{|\d\d\d )": {"http/head.py", "server/switching.py"},
    # Control characters of a channel's name.
    r"\\x7f-\\x9f\\u2028\\u2029": {"channels/query.py"},
    # The largest message that a person sends, and the largest that is published.
    r"128 \* 1024 \* 1024": {"cli/largest.py"},
    r"max_message_size or ": {"config/config.py"},
    # The mask of a secret, and the shortest secret.
    r"\*{8}": {"escape.py"},
    r"_SHORTEST_SECRET\b": {"escape.py"},
    # Text that may be escaped already.
    r"isprintable\(\) else escape": {"escape.py"},
    # A file of the settings that cannot be read.
    r"\(?\{?error\.strerror\}; ": {"config/files.py"},
    # `async for` over messages.
    r"raise StopAsyncIteration": {"client/inbox.py"},
    # A subclass by the same name.
    r"__qualname__\"": {"protocol/options.py"},
    # The two parts of a request's target.
    r"target\.partition\(\"\?\"\)": {"http/target.py"},
}


@pytest.mark.parametrize("pattern", HOMES)
def test_it_stands_in_one_place(pattern: str) -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found == HOMES[pattern]
