"""A port behind which many connections can wait, for attacks that make many at once."""

from __future__ import annotations

from .harness import Attack

ROOMY = ("--listen", "tcp:0:interface=127.0.0.1:backlog=1024")
"""As `--port` has it. Twisted's own 50 are soon full, and the kernel drops what is more."""


def roomy(attack: Attack) -> None:
    """Attack that port."""
    attack.port = attack.server.log.wait_for_ports(2)[1]
