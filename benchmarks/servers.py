"""How this service and each peer is started, and which of them can do what."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from wsservice.protocol.frames import CODEC

from . import building
from .errors import BenchmarkError
from .works import OURS, PYTHON_CODEC, Work

HERE = building.HERE


@attrs.frozen
class Start:
    """How to start a program for a work: where to listen, and what else it is given."""

    work: Work
    port: int
    log: Path
    certificate: tuple[Path, Path] | None = None


@attrs.frozen
class Server:
    """A server to measure. `prepare` installs it; raises `BenchmarkError` where it cannot."""

    name: str
    title: str
    command: Callable[[Start], list[str | Path]]
    prepare: Callable[[], object]
    environment: dict[str, str] = attrs.field(factory=dict)
    client: Path | None = None
    python: Path = Path(sys.executable)

    @property
    def ours(self) -> bool:
        """True for this service, in any variant."""
        return self.name.startswith(OURS)

    def cannot(self, work: Work) -> str:
        """Why it does not do a work; nothing if it does."""
        if work.kind == "client" and self.client is None:
            return "no client measured"
        if self.name == "picows" and work.deflate:
            return "has no compression"
        return ""


def _twistd(start: Start) -> list[str | Path]:
    work = start.work
    behaviour = {"broadcast": "benchmarks.behaviours.Broadcast"}
    place: list[str | Path] = ["--port", str(start.port)]
    if start.certificate:
        certificate, key = start.certificate
        files = f"privateKey={key}:certKey={certificate}"
        place = ["--listen", f"ssl:{start.port}:{files}:interface=127.0.0.1"]
    return [
        *(Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "wsdemo"),
        *place,
        *("--protocol", behaviour.get(work.behaviour, work.behaviour)),
        *(("--message-log", start.log) if work.kind == "ingest" and work.log_file else ()),
        *(("--compression", "on") if work.deflate else ()),
    ]


def _peer(program: str, file: str) -> Callable[[Start], list[str | Path]]:
    def command(start: Start) -> list[str | Path]:
        return [
            *(program, HERE / "peers" / file, start.work.behaviour, str(start.port)),
            *(("--log", start.log) if start.work.behaviour == "greeting" else ()),
            *(("--tls", *start.certificate) if start.certificate else ()),
            *(("--deflate",) if start.work.deflate else ()),
        ]

    return command


def _nothing() -> None:
    pass


def _native_codec() -> None:
    if CODEC != "native":
        raise BenchmarkError("there is no native codec here: wsservice itself uses the Python one")


def _python_peer(name: str, title: str, client: str = "") -> Server:
    return Server(
        name,
        title,
        _peer(str(building.PEERS_PYTHON), f"{name}_server.py"),
        building.python_peers,
        client=HERE / "clients" / client if client else None,
        python=building.PEERS_PYTHON,
    )


ALL = (
    Server(
        OURS,
        "wsservice",
        _twistd,
        _nothing,
        client=HERE / "clients" / "wsservice_client.py",
    ),
    Server(
        PYTHON_CODEC,
        "wsservice, Python codec",
        _twistd,
        _native_codec,
        environment={"WSSERVICE_NATIVE": "0"},
    ),
    _python_peer("autobahn", "Autobahn"),
    Server("ws", "ws (Node)", _peer("node", "ws.js"), building.node_peer),
    _python_peer("websockets", "websockets (uvloop)", "websockets_client.py"),
    _python_peer("picows", "picows (uvloop)"),
)
