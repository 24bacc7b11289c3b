"""nginx and HAProxy in front, with the configurations that are shipped."""

from __future__ import annotations

import abc
import re
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..needs import need, need_program
from .processes import Program, Programs, can_connect, free_port, wait_until
from .test_listening_places import make_certificate
from .wire import PING, PONG, Wire

DEPLOY = Path(__file__).parents[2] / "deploy"
_STREAMS = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Where Debian has it, and loads it from by itself."""

_NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
{load}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {site}
}}
{stream}
"""
"""What there is in Debian around a configuration of ours."""


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
        assert self.endpoint.format(8080) in (DEPLOY / self.file).read_text()
        server = self.programs.twistd("--listen", endpoint, *options)
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
        """Whether nobody is served, and who asks is told so or dropped."""
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
    port_pattern = "bind {}"
    idle = ("timeout tunnel 1m", "timeout client 10s", "timeout server 10s")
    limit = ("gt 100 }", "gt 2 }")

    def __init__(self, programs: Programs) -> None:
        super().__init__(programs)
        self.program = need_program("haproxy")
        self.changes = {
            "bind :8443": f"bind 127.0.0.1:{self.port}",
            "server local 127.0.0.1:8080": f"server local 127.0.0.1:{self.behind}",
            "inter 2s": "inter 200ms",
        }

    def run(self, configuration: str) -> Program:
        file = self.programs.folder / "haproxy.cfg"
        file.write_text(configuration)
        return self.programs.start(self.program, "-db", "-f", file)


class Nginx(Proxy):
    def __init__(self, programs: Programs) -> None:
        super().__init__(programs)
        self.program = need_program("nginx")

    def run(self, configuration: str) -> Program:
        part = self.programs.folder / "part.conf"
        part.write_text(configuration)
        include = f"include {part};"
        streams = "\nstream {" in configuration
        whole = _NGINX.format(
            load=f"load_module {_STREAMS};" if streams else "",
            site="" if streams else include,
            stream=include if streams else "",
        )
        file = self.programs.folder / "nginx.conf"
        file.write_text(whole)
        folder = f"{self.programs.folder}/"
        return self.programs.start(self.program, "-p", folder, "-c", file, "-e", "stderr")


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
        need(_STREAMS.exists(), "nginx's module for streams (libnginx-mod-stream)")
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
    from wsservice.config import Config

    silence = Config().ping_interval + Config().ping_timeout
    for kind in (HAProxy, Site, Stream):
        minutes = [each for each in kind.idle if each.endswith("1m")]
        assert minutes
        for each in minutes:
            assert each in (DEPLOY / kind.file).read_text()
        assert silence < 60


def test_haproxy_leaves_a_service_that_answers_as_it_should(programs: Programs) -> None:
    proxy = HAProxy(programs)
    server = proxy.serve()
    said = proxy.start().stderr
    proxy.connect().end()
    assert not re.search(r"is DOWN", said.text)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    said.wait_for("Server wsservice/local is DOWN")
    assert "Traceback" not in server.log.text
