"""Names that a machine knows: of its own /etc/hosts, seen by one program only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..needs import need, need_program

_SCRIPT = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


class Names:
    """Has programs know names, all of them of 127.0.0.1, and no other but localhost's."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        hosts, resolver = folder / "hosts", folder / "resolv.conf"
        hosts.write_text(f"127.0.0.1 {' '.join(['localhost', *names])}\n")
        # Nobody answers there, and the kernel says so at once.
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        rights = [] if os.geteuid() == 0 else ["--map-root-user"]
        self._command: list[str | Path] = [need_program("unshare"), "--mount", *rights]
        self._command += ["sh", "-c", _SCRIPT, hosts, resolver]
        tried = subprocess.run([*self._command, "true"], capture_output=True, check=False)
        need(tried.returncode == 0, "a file system's view of one's own (unshare --mount)")

    def seen_by(self, *command: str | Path) -> list[str | Path]:
        """The command that runs a program which knows them."""
        return [*self._command, *command]
