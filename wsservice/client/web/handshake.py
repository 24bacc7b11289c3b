"""Write the request of a client's opening handshake. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from ..options import ClientConfig
from .cookies import cookies_for
from .credentials import basic


def opening_request(config: ClientConfig, key: str, extensions: Iterable[str]) -> bytes:
    """Return the request of the opening handshake (RFC 6455, 4.1).

    A header that the user gave replaces ours of the same name.
    """
    ours = {
        "Host": config.target.authority,
        "User-Agent": config.user_agent,
        "Origin": config.origin,
        "Authorization": _authorization(config),
        "Cookie": cookies_for(config.target, config.cookies, config.cookie_jar),
    }
    given = {name.lower() for name, _ in config.headers}
    lines = [
        f"GET {config.target.resource} HTTP/1.1",
        *(
            f"{name}: {value}"
            for name, value in ours.items()
            if value and name.lower() not in given
        ),
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if config.subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(config.subprotocols)}")
    if offers := ", ".join(extensions):
        lines.append(f"Sec-WebSocket-Extensions: {offers}")
    lines += [f"{name}: {value}" for name, value in config.headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _authorization(config: ClientConfig) -> str | None:
    if config.bearer is not None:
        return f"Bearer {config.bearer}"
    return None if config.auth is None else basic(*config.auth)
