"""Where a server's redirect leads, and what may be told there."""

from __future__ import annotations

import attrs

from .options import ClientConfig
from .urls import redirected

STATUSES = (301, 302, 303, 307, 308)


def follow(config: ClientConfig, location: str) -> ClientConfig:
    """The settings to follow a redirect with.

    To another origin, which is another scheme, host or port, goes nothing that
    says who we are: no name, token, cookie or certificate, and none of the headers
    that the user gave, any of which may be a key. A jar gives each host its own
    cookies. Raises `ConfigError` for where a redirect must not lead.
    """
    there = redirected(config.target, location)
    if there.same_origin(config.target):
        return attrs.evolve(config, url=there.url)
    return attrs.evolve(
        config,
        url=there.url,
        headers=(),
        auth=None,
        bearer=None,
        cookies="",
        cert=None,
        key=None,
        key_password=None,
    )
