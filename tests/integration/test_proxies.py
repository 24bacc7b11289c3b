"""nginx and HAProxy in front, with the configurations that are shipped."""

from __future__ import annotations

import abc
import contextlib
import http.client
import re
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..needs import need, need_program
from . import gateways
from .processes import PATIENCE, Program, Programs, can_connect, free_port, wait_until
from .test_listening_places import make_certificate
from .wire import PING, PONG, Wire

DEPLOY = Path(__file__).parents[2] / "deploy"


def changed(text: str, changes: dict[str, str]) -> str:
    """A configuration, with what must differ here; each of it stands there once, or as a limit."""
    for documented, here in changes.items():
        assert documented in text, documented
        text = text.replace(documented, here)
    return text


class Proxy(abc.ABC):
    """A proxy with a certificate of its own, and a service behind it that may come and go."""

    file: str
    endpoint = "haproxy:tcp:{}:interface=127.0.0.1"
    options: tuple[str, ...] = ()
    """Further options to start the service with."""
    port_pattern: str
    idle: tuple[str, ...]
    """Its timeouts for a connection on which nothing goes on."""
    limit: tuple[str, str]
    """Its limit on connections of an address, and the same with two."""
    tells_peers = True

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.port, self.behind = free_port(), free_port()
        key, self.certificate = make_certificate(programs.folder)
        site = self.certificate.read_bytes() + key.read_bytes()
        (programs.folder / "site.pem").write_bytes(site)
        self.changes = {
            self.port_pattern.format("8443"): self.port_pattern.format(f"127.0.0.1:{self.port}"),
            "server 127.0.0.1:8080": f"server 127.0.0.1:{self.behind}",
        }

    def start(self, *changes: tuple[str, str]) -> Program:
        """Start it, with some changes to the configuration."""
        text = (DEPLOY / self.file).read_text()
        program = self.run(changed(text, {**self.changes, **dict(changes)}))
        wait_until(
            lambda: program.process.poll() is not None or can_connect(self.port),
            "the proxy to listen",
        )
        assert program.process.poll() is None, program.stderr.text
        return program

    @abc.abstractmethod
    def run(self, configuration: str) -> Program:
        """Start it with a configuration."""

    def serve(self, *options: str) -> Program:
        """Start the service as the configuration says that it should be."""
        endpoint = self.endpoint.format(self.behind)
        text = (DEPLOY / self.file).read_text()
        assert self.endpoint.format(8080) in text
        assert " ".join(self.options) in text
        server = self.programs.twistd("--listen", endpoint, *self.options, *options)
        server.log.wait_for("starting on")
        return server

    def shorten(self, timeout: str) -> list[tuple[str, str]]:
        return [(each, each.replace("1m", timeout)) for each in self.idle]

    def reach(self, headers: str = "") -> Wire:
        """Ask for a connection."""
        client = Wire(self.port)
        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
            client.secure(context, "localhost")
            return client.upgrade(headers=headers)
        except BaseException:
            client.end()
            raise

    def refuses(self) -> bool:
        """Return True if no client is served, and each is refused or dropped."""
        try:
            client = self.reach()
        except (OSError, AssertionError):
            return True
        client.end()
        return client.status in (502, 503)

    def connect(self, headers: str = "") -> Wire:
        """An open connection, as soon as the proxy knows that it can be had."""
        reached: list[Wire] = []

        def opens() -> bool:
            # Not tried before with another, which would count for a moment still.
            try:
                client = self.reach(headers)
            except (OSError, AssertionError):
                return False
            if client.status != 101:
                client.end()
                return False
            reached.append(client)
            return True

        wait_until(opens, "the proxy to pass connections on")
        assert reached[0].receive() == "Hello from server"
        return reached[0]


class HAProxy(Proxy):
    file = "haproxy/haproxy.cfg"
    options = ("--health-path", "/health")
    port_pattern = "bind {}"
    idle = ("timeout tunnel 1m", "timeout client 10s", "timeout server 10s")
    limit = ("gt 100 }", "gt 2 }")

    def __init__(self, programs: Programs) -> None:
        super().__init__(programs)
        need_program("haproxy")
        self.changes = {
            "bind :8443": f"bind 127.0.0.1:{self.port}",
            "server local 127.0.0.1:8080": f"server local 127.0.0.1:{self.behind}",
            "inter 2s": "inter 200ms",
        }

    def run(self, configuration: str) -> Program:
        return gateways.haproxy(self.programs, configuration)


class Nginx(Proxy):
    def __init__(self, programs: Programs) -> None:
        super().__init__(programs)
        need_program("nginx")

    def run(self, configuration: str) -> Program:
        part = self.programs.folder / "part.conf"
        part.write_text(configuration)
        include = f"include {part};"
        if "\nstream {" in configuration:
            return gateways.nginx(self.programs, stream=include)
        return gateways.nginx(self.programs, http=include)


class Site(Nginx):
    file = "nginx/site.conf"
    endpoint = "tcp:{}:interface=127.0.0.1"
    port_pattern = "listen {} ssl"
    idle = ("proxy_read_timeout 1m", "proxy_send_timeout 1m")
    limit = ("limit_conn wsservice 100", "limit_conn wsservice 2")
    tells_peers = False


class Stream(Nginx):
    file = "nginx/stream.conf"
    port_pattern = "listen {} ssl"
    idle = ("proxy_timeout 1m",)
    limit = ("limit_conn wsservice_stream 100", "limit_conn wsservice_stream 2")

    def __init__(self, programs: Programs) -> None:
        super().__init__(programs)
        need(gateways.NGINX_STREAMS.exists(), "nginx's module for streams (libnginx-mod-stream)")
        self.changes["listen 8444 ssl"] = self.changes.pop("listen 8443 ssl")


# Where a connection is dropped before it is asked to speak TLS, Python forgets to close it.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=[HAProxy, Site, Stream])
def proxy(request: pytest.FixtureRequest, programs: Programs) -> Any:
    made: Callable[[Programs], Proxy] = request.param
    return made(programs)


def test_a_client_talks_and_its_address_is_known_where_it_can_be(proxy: Proxy) -> None:
    server = proxy.serve()
    proxy.start()
    # A page of that very host and port, as browsers name it.
    client = proxy.connect()
    other = Wire(proxy.port)
    other.secure(ssl.create_default_context(cafile=str(proxy.certificate)), "localhost")
    own = client.socket.getsockname()[1]
    client.send("by a proxy")
    server.log.wait_for("] Message received: by a proxy\n")
    (line,) = server.log.ending("by a proxy")
    assert (f" 127.0.0.1:{own}] " in line) == proxy.tells_peers
    assert client.close().code == 1000
    client.end()
    other.end()
    assert "Traceback" not in server.log.text


def test_a_web_page_may_connect_to_the_host_and_port_that_it_comes_from(proxy: Proxy) -> None:
    proxy.serve()
    proxy.start()
    proxy.connect().end()
    for origin, status in (
        (f"https://localhost:{proxy.port}", 101),
        ("https://evil.example", 403),
    ):
        client = Wire(proxy.port)
        client.secure(ssl.create_default_context(cafile=str(proxy.certificate)), "localhost")
        client.upgrade(host=f"localhost:{proxy.port}", headers=f"Origin: {origin}\r\n")
        assert client.status == status
        client.end()


def test_who_is_silent_stays_since_the_service_pings(proxy: Proxy) -> None:
    # In sum shorter than the proxy's timeouts, as the configurations say.
    proxy.serve("--ping-interval", "0.5", "--ping-timeout", "1.5")
    proxy.start(*proxy.shorten("3s"))
    client = proxy.connect()
    for _ in range(5):  # 6.5 seconds
        opcode, payload = client._frame()
        assert opcode == PING
        client.send_frame(PONG, payload)
    assert client.close().code == 1000
    client.end()


def test_without_pings_the_proxy_ends_it(proxy: Proxy) -> None:
    server = proxy.serve("--ping-interval", "0")
    proxy.start(*proxy.shorten("2s"))
    client = proxy.connect()
    assert client.at_end()
    client.end()
    assert "Traceback" not in server.log.text


def test_a_service_that_stops_says_goodbye_and_the_next_is_found(proxy: Proxy) -> None:
    server = proxy.serve()
    proxy.start()
    client = proxy.connect()
    server.signal(signal.SIGTERM)
    assert client.receive_close().code == 1001
    # While it drains, and after.
    wait_until(proxy.refuses, "the proxy to refuse connections")
    client.send_close(1001)
    assert client.at_end()
    assert server.wait() == 0
    assert proxy.refuses()
    client.end()
    proxy.serve()
    proxy.connect().end()


def test_one_address_may_have_so_many_connections(proxy: Proxy) -> None:
    proxy.serve()
    proxy.start(proxy.limit)
    clients = [proxy.connect(), proxy.connect()]
    assert proxy.refuses()
    for client in clients:
        client.end()
    proxy.connect().end()


def test_timeouts_are_longer_than_a_ping_and_its_answer_may_take() -> None:
    from wsservice.config.config import Config

    silence = Config().ping_interval + Config().ping_timeout
    for kind in (HAProxy, Site, Stream):
        minutes = [each for each in kind.idle if each.endswith("1m")]
        assert minutes
        for each in minutes:
            assert each in (DEPLOY / kind.file).read_text()
        assert silence < 60


def test_haproxy_leaves_a_service_that_drains_and_its_checks_are_no_refusals(
    programs: Programs,
) -> None:
    proxy = HAProxy(programs)
    server = proxy.serve("--drain", "30", "--log-level", "debug")
    said = proxy.start().stderr
    client = proxy.connect()
    server.log.wait_for("health check: 200", 5)
    assert not re.search(r"is DOWN", said.text)
    assert "refused with" not in server.log.text
    server.signal(signal.SIGTERM)
    said.wait_for("Server wsservice/local is DOWN, reason: Layer7 wrong status, code: 503")
    assert client.answer_close().code == 1001
    client.end()
    assert server.wait() == 0
    assert "Traceback" not in server.log.text


def test_an_nginx_that_asks_by_HTTP_1_0_is_told_its_setting(programs: Programs) -> None:
    proxy = Site(programs)
    server = proxy.serve()
    proxy.start(("proxy_http_version 1.1;", "proxy_http_version 1.0;"))
    with contextlib.closing(
        http.client.HTTPSConnection(
            "localhost",
            proxy.port,
            timeout=PATIENCE,
            context=ssl.create_default_context(cafile=str(proxy.certificate)),
        )
    ) as client:
        client.request("GET", "/websockets/", headers={"Upgrade": "websocket"})
        answer = client.getresponse()
        assert answer.status == 505
        assert b"nginx: proxy_http_version 1.1" in answer.read()
    server.log.wait_for("refused with 505: a WebSocket handshake came by HTTP/1.0; have the")
    assert "nginx: proxy_http_version 1.1" in server.log.text
