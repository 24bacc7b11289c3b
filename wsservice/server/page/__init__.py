"""The web pages of the service. Each is one document without other files, built once. PURE.

A page is written in parts, in this folder: its own HTML, CSS and JavaScript, and
what the pages share. Its policy (CSP) names the style and the script by their
hash, so that a browser runs those and no injected code.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources

import attrs

PUBLIC = "public"
"""The page to try the service out, on its own port."""

ADMIN = "admin"
"""The operator's page, on the admin face."""


@attrs.frozen
class Page:
    """A page as it is sent: its octets and headers, the same for every client."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@functools.cache
def load(name: str) -> Page:
    """Return the page of a name, `PUBLIC` or `ADMIN`."""
    style = _part("shared.css") + _part(f"{name}.css")
    script = _part("shared.js") + _part(f"{name}.js")
    document = _part(f"{name}.html").replace("{{style}}", style).replace("{{script}}", script)
    return Page(document.encode(), _headers(style, script))


def _part(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _headers(style: str, script: str) -> tuple[tuple[str, str], ...]:
    policy = (
        "default-src 'none'",
        f"script-src 'sha256-{_hash(script)}'",
        f"style-src 'sha256-{_hash(style)}'",
        # 'self' is the page's own host, for WebSocket too (CSP 3, 6.7.2.8).
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "; ".join(policy)),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
