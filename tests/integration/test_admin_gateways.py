"""The admin face behind gateways in their default shape, and in the one that the manual shows."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gateways import DEFAULTS, nginx, started
from .processes import Program, Programs, free_port
from .test_admin import LOOPBACK, Answered, Asking, admin_of, read_all
from .test_listening_places import make_certificate

ROOT = Path(__file__).parents[2]
TOKEN = "correct-horse"
PUBLIC = "Host: service.example"
WITH_TOKEN = f"Authorization: Bearer {TOKEN}"
REFUSED = "refused a request that came through a gateway ("

MARKED = {"nginx": "HTTP/1.0", "apache": "X-Forwarded-*", "caddy": "X-Forwarded-*"}
"""The mark of each gateway's requests. Nothing tells HAProxy's from a client's."""


def token_file(folder: Path) -> Path:
    path = folder / "admin.token"
    path.touch(0o600)
    path.write_text(TOKEN)
    return path


@pytest.fixture(params=DEFAULTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Fronted:
    """A service whose admin face a gateway forwards to."""

    def __init__(self, programs: Programs, name: str, *options: str | Path) -> None:
        self.server: Program = programs.twistd("--port", "0", "--admin", LOOPBACK, *options)
        self.face = admin_of(self.server)
        assert isinstance(self.face.place, int)
        port = free_port()
        started(DEFAULTS[name](programs, port, self.face.place), port)
        self.gateway = Asking(port)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_token_whoever_comes_through_a_gateway_is_refused(
    programs: Programs, name: str, workers: str
) -> None:
    fronted = Fronted(programs, name, "--workers", workers)
    for method, target in (
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/connections"),
        ("POST", "/connections/1/close"),
        ("POST", "/publish/websockets"),
    ):
        answer = fronted.gateway.ask(target, PUBLIC, method=method, body=b"")
        if name in MARKED:
            assert answer.status == 403, (target, answer.body)
            assert f"({MARKED[name]}); without --admin-token-file" in answer.said["error"]
        else:
            assert answer.status == 421
    logged = fronted.server.log.text
    assert "asks for no token: anyone who can reach it, also through a gateway" in logged
    assert logged.count(REFUSED) == (name in MARKED)
    # A request that comes without a gateway is served as before.
    assert fronted.face.ask("/connections").status == 200


def test_haproxy_leaves_no_mark_so_that_only_a_token_keeps_others_out(programs: Programs) -> None:
    fronted = Fronted(programs, "haproxy")
    assert fronted.gateway.ask("/connections", "Host: localhost").status == 200


def test_health_is_answered_through_a_gateway(programs: Programs, name: str) -> None:
    fronted = Fronted(programs, name)
    for target in ("/healthz", "/readyz"):
        assert fronted.gateway.ask(target, "Host: localhost").status == 200


def test_the_shipped_settings_want_the_token_from_all(programs: Programs, name: str) -> None:
    settings = (ROOT / "deploy" / "ws.toml").read_text()
    shipped = tomllib.loads(settings)
    path = str(token_file(programs.folder))
    for documented, here in (
        ('listen = ["haproxy:systemd:domain=INET:name=ws"]', "port = 0"),
        ("/var/log/wsservice/", f"{programs.folder}/"),
        (shipped["admin"], LOOPBACK),
        (shipped["admin_token_file"], path),
    ):
        assert settings.count(documented) == 1
        settings = settings.replace(documented, here)
    (programs.folder / "ws.toml").write_text(settings)
    server = programs.twistd("--config", "ws.toml")
    face = admin_of(server)
    assert isinstance(face.place, int)
    port = free_port()
    started(DEFAULTS[name](programs, port, face.place), port)
    gateway = Asking(port)
    for host in ("Host: localhost", PUBLIC):
        for target in ("/metrics", "/connections", "/publish/a"):
            assert gateway.ask(target, host).status in (401, 421)
            assert gateway.ask(target, host, "Authorization: Bearer wrong").status in (401, 421)
    assert gateway.ask("/metrics", "Host: localhost").status == 401
    assert gateway.ask("/metrics", "Host: localhost", WITH_TOKEN).status == 200
    assert "asks for no token" not in server.log.text
    assert REFUSED not in server.log.text


@pytest.fixture
def run() -> Iterator[Path]:
    """A folder for a socket that nginx, as another user, may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ws"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_the_way_of_the_manual(programs: Programs, run: Path) -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    _, _, section = manual.partition("### The admin face through a gateway\n")
    (site,) = re.findall(r"```nginx\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    (typed,) = re.findall(r"\$ twistd -n wsdemo (.*)", section.partition("\n## ")[0])
    admin = run / "admin.sock"
    token_file(programs.folder)
    assert typed == "--admin unix:/run/wsservice/admin.sock --admin-token-file admin.token"
    server = programs.twistd(
        *("--port", "0", "--admin", f"unix:{admin}", "--admin-token-file", "admin.token")
    )
    server.log.wait_for("AdminFactory starting on ")
    if os.getuid() == 0:
        shutil.chown(admin, group="www-data")
    make_certificate(programs.folder)
    port = free_port()
    for documented, here in (
        ("listen 8445 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/run/wsservice/admin.sock", str(admin)),
    ):
        assert site.count(documented) == 1
        site = site.replace(documented, here)
    started(nginx(programs, http=site), port)
    context = ssl.create_default_context(cafile=str(programs.folder / "cert.pem"))
    asking = Asking(port)

    def ask(target: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answered:
        with context.wrap_socket(asking.connect(), server_hostname="localhost") as wire:
            given = ("Host: ops.example", *headers)
            wire.sendall(asking.request(target, *given, method=method, body=body))
            return Answered(read_all(wire))

    assert ask("/connections").status == 401
    assert ask("/connections", WITH_TOKEN).status == 200
    assert ask("/readyz").status == 200
    own, other = "Origin: https://ops.example", "Origin: https://evil.example"
    for origin, status in ((own, 200), (other, 403)):
        answer = ask("/publish/a", WITH_TOKEN, origin, method="POST", body=b"hello")
        assert answer.status == status
