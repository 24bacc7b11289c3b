"""`twistd --reactor wsepoll`: the reactor of `epoll`, where there is one."""

from __future__ import annotations


def install() -> None:
    """Make it the process's reactor; or end the process with status 1 and one line.

    Raises `twisted.internet.error.ReactorAlreadyInstalledError`.
    """
    from twisted.internet.main import installReactor

    try:
        from .epoll import WSEPollReactor
    except ImportError:
        raise SystemExit("--reactor: wsepoll needs epoll, which this system lacks") from None
    installReactor(WSEPollReactor())
