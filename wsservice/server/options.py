"""Autobahn's options for the connections of a server."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ..config.config import Config
from ..protocol.compression import server_accept
from ..protocol.options import common_options


def server_options(config: Config) -> dict[str, Any]:
    """Autobahn's options for a server, every one, by Autobahn's names."""
    return {
        **common_options(config),
        "versions": [13],
        "webStatus": False,
        "requireMaskedClientFrames": True,
        "maskServerFrames": False,
        "perMessageCompressionAccept": partial(
            server_accept, keeps_context=config.slow_client == "close"
        ),
        "serveFlashSocketPolicy": False,
        "flashSocketPolicy": "",
        "allowedOrigins": ["*"],
        "allowedOriginsPatterns": [re.compile("")],
        "allowNullOrigin": True,
        "maxConnections": 0,
        "trustXForwardedFor": 0,
    }
