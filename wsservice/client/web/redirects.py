"""Follow redirects, and withhold secrets from other origins."""

from __future__ import annotations

import attrs

from ...escape import PUBLIC_SUBPROTOCOLS
from ..options import ClientConfig
from .urls import redirected

STATUSES = (301, 302, 303, 307, 308)


def follow(config: ClientConfig, location: str) -> ClientConfig:
    """Return the settings with which to follow a redirect.

    Raises `ConfigError` if it is not allowed.

    Another origin (scheme, host or port) gets nothing that identifies the user: no name, token,
    cookie or certificate, no origin, and no headers of the user, because any may hold a key. It
    gets only subprotocols that many servers share, because a token may be sent as one. A jar gives
    each host its own cookies.
    """
    there = redirected(config.target, location)
    if there.same_origin(config.target):
        return attrs.evolve(config, url=there.url)
    return attrs.evolve(
        config,
        url=there.url,
        origin=None,
        subprotocols=[each for each in config.subprotocols if each in PUBLIC_SUBPROTOCOLS],
        headers=(),
        auth=None,
        bearer=None,
        cookies="",
        cert=None,
        key=None,
        key_password=None,
    )
