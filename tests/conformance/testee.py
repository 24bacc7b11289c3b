"""The shipped client as testee: echoes, case by case, whatever the fuzzing server sends."""

from __future__ import annotations

import argparse
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsservice.client import ClientProtocol, connect
from wsservice.errors import HandshakeError


class Testee(ClientProtocol):
    """Echoes, as the suite wants it. `over` fires at the end, with the last text that came."""

    def __init__(self) -> None:
        super().__init__()
        self.over: Deferred[str] = Deferred()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.over.callback("")


class Listener(Testee):
    """Says nothing, and keeps the one text that it hears."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard = payload.decode()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.over.callback(getattr(self, "heard", ""))


async def _visit(url: str, protocol: type[Testee], **settings: Any) -> str:
    try:
        connection = await connect(url, protocol, **settings)
    except HandshakeError:
        return ""  # some cases end that way; the suite judges
    return await connection.over


async def _main(reactor: Any, arguments: argparse.Namespace) -> None:
    base = arguments.url
    count = int(await _visit(f"{base}/getCaseCount", Listener, reactor=reactor))
    if arguments.count:
        print(count)
        return
    settings = json.loads(arguments.settings)
    for case in range(1, count + 1):
        url = f"{base}/runCase?case={case}&agent={arguments.agent}"
        await _visit(url, Testee, reactor=reactor, **settings)
        print(f"case {case} of {count}", flush=True)
    await _visit(f"{base}/updateReports?agent={arguments.agent}", Listener, reactor=reactor)


def main() -> None:
    """Run all cases, or with --count print how many there are."""
    parser = argparse.ArgumentParser(prog="testee")
    parser.add_argument("url")
    parser.add_argument("--agent", default="wsservice")
    parser.add_argument("--settings", default="{}", help="of the connection, as JSON")
    parser.add_argument("--count", action="store_true")
    react(_main, (parser.parse_args(),))


if __name__ == "__main__":
    main()
