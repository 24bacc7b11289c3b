"""page/: each page is whole, and its policy allows what is in it and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from wsservice.server import page

NAMESPACE = "http://www.w3.org/2000/svg"
"""A name, from which nothing is fetched."""


def policy_of(name: str) -> dict[str, str]:
    headers = dict(page.load(name).headers)
    parts = headers["Content-Security-Policy"].split("; ")
    return {directive: sources for directive, _, sources in (each.partition(" ") for each in parts)}


def hash_of(document: str, tag: str) -> str:
    """Return the hash that a browser computes for the only element with this tag."""
    (content,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", document, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@pytest.fixture(params=[page.PUBLIC, page.ADMIN])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_its_own_style_and_script_run_and_nothing_else(name: str) -> None:
    document = page.load(name).body.decode()
    policy = policy_of(name)
    assert policy["script-src"] == hash_of(document, "script")
    assert policy["style-src"] == hash_of(document, "style")
    assert policy["connect-src"] == "'self'"
    for directive in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert policy[directive] == "'none'"
    markup = re.sub(r"(<style>|<script type=.module.>).*?</", "", document, flags=re.DOTALL)
    assert not re.search(r"\son\w+=|\sstyle=|<script|\{\{", markup)


def test_it_asks_for_nothing_from_elsewhere(name: str) -> None:
    document = page.load(name).body.decode().replace(NAMESPACE, "")
    assert not re.search(r"https?://|@import|url\(|src=|import\(", document)


def test_no_text_becomes_markup(name: str) -> None:
    document = page.load(name).body.decode()
    assert "textContent" in document
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval", document)


def test_it_keeps_to_itself(name: str) -> None:
    headers = dict(page.load(name).headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


def test_it_is_put_together_once_and_small(name: str) -> None:
    assert page.load(name) is page.load(name)
    assert len(page.load(name).body) < 64 * 1024
