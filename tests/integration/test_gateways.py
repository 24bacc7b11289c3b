"""The recipes of docs/gateways.md, each with the real gateway."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from ..needs import need_program
from . import gateways
from .processes import BIN, Program, Programs, free_port, wait_until
from .test_admin import LOOPBACK, Asking, admin_of
from .test_listening_places import make_certificate
from .wire import PING, PONG, Wire

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateways.md").read_text()
H2 = ROOT / "tests" / "interop" / "h2.js"

# Where a connection is dropped before it is asked to speak TLS, Python forgets to close it.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


def shipped(path: str) -> list[str]:
    return [(ROOT / "deploy" / path).read_text()]


def printed(title: str) -> list[str]:
    """The configurations under a heading."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    section = dict(zip(parts[1::2], parts[2::2], strict=True))[title]
    return re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)


def _apache(programs: Programs, texts: list[str]) -> Program:
    modules = ["ssl", "headers", "proxy_balancer", "proxy_hcheck", "lbmethod_bybusyness"]
    modules += ["slotmem_shm"]
    return gateways.apache(programs, texts[0], *modules)


def _nginx_stream(programs: Programs, texts: list[str]) -> Program:
    return gateways.nginx(programs, stream=texts[0])


def _touch(programs: Programs, _: Program) -> None:
    file = programs.folder / "dynamic.yml"
    file.write_text(file.read_text().replace("interval: 2s", "interval: 3s"))


_CADDY = """
{{
    admin unix//{folder}/caddy.sock
    auto_https off
}}
"""


def _caddy(programs: Programs, texts: list[str]) -> Program:
    return gateways.caddy(programs, texts[0], _CADDY.format(folder=programs.folder))


def _caddy_reload(programs: Programs, _: Program) -> None:
    place = f"unix//{programs.folder}/caddy.sock"
    done = subprocess.run(
        [
            *("caddy", "reload", "--force", "--address", place),
            *("--adapter", "caddyfile", "--config", programs.folder / "Caddyfile"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _signal(number: int) -> Callable[[Programs, Program], None]:
    return lambda _, program: program.signal(number)


@attrs.frozen
class Recipe:
    """A gateway, and what the table of the page says of it."""

    texts: list[str]
    start: Callable[[Programs, list[str]], Program]
    reload: Callable[[Programs, Program], None] | None
    documented: str = "8443"
    behind: str = "127.0.0.1:8080"
    is_proxied: bool = False
    checks: bool = False
    stays: bool = True
    close_code: int = 1006
    """The close code that a client sees if a reload ends its connection."""
    h2: bool = False
    idle: tuple[str, ...] = ()
    """The settings of its timeouts of a minute; empty if it has none."""


RECIPES = {
    "HAProxy": Recipe(
        shipped("haproxy/haproxy.cfg"),
        lambda programs, texts: gateways.haproxy(programs, texts[0], "-W"),
        _signal(signal.SIGUSR2),
        is_proxied=True,
        checks=True,
        h2=True,
        idle=("timeout tunnel {}m", "timeout client {}0s", "timeout server {}0s"),
    ),
    "nginx, `stream`": Recipe(
        shipped("nginx/stream.conf"),
        _nginx_stream,
        _signal(signal.SIGHUP),
        documented="8444",
        is_proxied=True,
        idle=("proxy_timeout {}m",),
    ),
    "nginx, `http`": Recipe(
        shipped("nginx/site.conf"),
        lambda programs, texts: gateways.nginx(programs, http=texts[0]),
        _signal(signal.SIGHUP),
        idle=("proxy_read_timeout {}m", "proxy_send_timeout {}m"),
    ),
    "Apache": Recipe(
        printed("Apache"),
        _apache,
        _signal(signal.SIGUSR1),
        checks=True,
        idle=("timeout={}0", "Timeout {}0"),
    ),
    "Caddy": Recipe(
        printed("Caddy"),
        _caddy,
        _caddy_reload,
        checks=True,
        stays=False,
        close_code=1001,
    ),
    "lighttpd": Recipe(
        printed("lighttpd"),
        lambda programs, texts: gateways.lighttpd(programs, texts[0]),
        _signal(signal.SIGUSR1),
        behind='"port" => 8080',
        stays=False,
        idle=("max-read-idle = {}0", "max-write-idle = {}0"),
    ),
    "Traefik": Recipe(
        printed("Traefik"),
        lambda programs, texts: gateways.traefik(programs, *texts),
        _touch,
        checks=True,
    ),
    "Envoy": Recipe(
        printed("Envoy"),
        lambda programs, texts: gateways.envoy(programs, texts[0]),
        None,
        behind="address: 127.0.0.1, port_value: 8080",
        is_proxied=True,
        checks=True,
        idle=("stream_idle_timeout: {}0s",),
    ),
    "stunnel": Recipe(
        printed("stunnel"),
        lambda programs, texts: gateways.stunnel(programs, texts[0]),
        _signal(signal.SIGHUP),
        is_proxied=True,
        idle=("TIMEOUTidle = {}0",),
    ),
}


class Running:
    """A recipe's gateway, and a service behind it."""

    def __init__(
        self,
        programs: Programs,
        name: str,
        *options: str,
        minute: str = "",
        instead: dict[str, str] | None = None,
    ) -> None:
        self.programs = programs
        self.recipe = RECIPES[name]
        self.port, behind = free_port(), free_port()
        key, self.certificate = make_certificate(programs.folder)
        both = self.certificate.read_bytes() + key.read_bytes()
        (programs.folder / "site.pem").write_bytes(both)
        listen = f"tcp:{behind}:interface=127.0.0.1"
        trust: tuple[str, ...] = ("--trust-proxy", "127.0.0.1")
        if self.recipe.is_proxied:
            listen, trust = f"haproxy:{listen}", ()
        self.server = programs.twistd(
            *("--listen", listen, "--health-path", "/health", "--admin", LOOPBACK),
            *(*trust, *options),
        )
        self.server.log.wait_for("starting on ", 2)
        self.admin: Asking = admin_of(self.server)
        changes = {
            self.recipe.documented: str(self.port),
            self.recipe.behind: self.recipe.behind.replace("8080", str(behind)),
            "inter 2s": "inter 200ms",
            **(instead or {}),
        }
        texts = [self._changed(each, changes, minute) for each in self.recipe.texts]
        text = "".join(texts)
        assert str(self.port) in text
        assert str(behind) in text
        self.gateway = self.recipe.start(programs, texts)
        gateways.started(self.gateway, self.port)

    def _changed(self, text: str, changes: dict[str, str], minute: str) -> str:
        for documented, here in changes.items():
            text = text.replace(documented, here)
        for each in self.recipe.idle if minute else ():
            one = next(each.format(n) for n in "61" if each.format(n) in text)
            short = re.sub(r"\d+(m?)", lambda found: minute + ("s" if found[1] else ""), one)
            # A setting that names its unit, seconds, keeps it.
            text = text.replace(one, re.sub(r"\d+s$", f"{minute}s", short))
        return text

    def reach(self, headers: str = "", source: str = "") -> Wire:
        client = Wire(self.port, source=source)
        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
            context.set_alpn_protocols(["http/1.1"])
            client.secure(context, "localhost")
            return client.upgrade(headers=headers, host=f"localhost:{self.port}")
        except BaseException:
            client.end()
            raise

    def open(self) -> Wire:
        """An open connection, as soon as the gateway knows that it can be had."""
        reached: list[Wire] = []

        def opens() -> bool:
            try:
                client = self.reach()
            except (OSError, AssertionError):
                return False
            if client.status != 101:
                client.end()
                return False
            reached.append(client)
            return True

        wait_until(opens, f"{self.gateway.stdout.text}{self.gateway.stderr.text} to pass them on")
        assert reached[0].receive() == "Hello from server"
        return reached[0]


@pytest.fixture(params=RECIPES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def row(name: str) -> list[str]:
    """Return the cells that the page's table has for a gateway."""
    title, _, kind = name.partition(",")
    (line,) = re.findall(rf"^\| \[{title}\]\([^|]*{kind} \|.*$", PAGE, re.MULTILINE)
    return [each.strip() for each in line.strip("|").split("|")]


def test_the_page_says_which_recipes_have_no_timeout_and_another_port() -> None:
    (without,) = re.findall(r"^\*\*Timeouts\.\*\* Every recipe but those of (.+?) ends", PAGE, re.M)
    assert without.split(" and ") == [name for name, each in RECIPES.items() if not each.idle]
    (other,) = re.findall(
        r"^Each recipe takes connections on port 8443 \((\d+) in `(.+?)`\)", PAGE, re.M
    )
    documented = {each.documented for each in RECIPES.values()} - {"8443"}
    assert {other[0]} == documented
    assert (
        f":{other[0]}" in (text := shipped(f"nginx/{other[1]}")[0]) or f"listen {other[0]} " in text
    )


def test_the_table_says_what_the_tests_hold() -> None:
    for name, recipe in RECIPES.items():
        _, address, check, reload, h2 = row(name)
        assert address == ("by PROXY" if recipe.is_proxied else "by its headers")
        assert (check == "yes") == recipe.checks
        if recipe.reload is not None:
            said = ("they stay" in reload, "all end" in reload)
            assert said == (recipe.stays, not recipe.stays)
            assert recipe.stays or str(recipe.close_code) in reload
        assert (h2 == "yes") == recipe.h2


def test_a_connection_passes_in_both_directions(programs: Programs, name: str) -> None:
    running = Running(programs, name)
    client = running.open()
    own = client.socket.getsockname()[1]
    client.send("by a gateway")
    running.server.log.wait_for("] Message received: by a gateway\n")
    (line,) = running.server.log.ending("by a gateway")
    assert f" 127.0.0.1:{own if running.recipe.is_proxied else 0}] " in line
    assert client.close().code == 1000
    client.end()
    client = running.open()
    running.server.signal(signal.SIGTERM)
    assert client.receive_close().code == 1001
    client.send_close(1001)
    assert client.at_end()
    client.end()
    assert running.server.wait() == 0
    assert "Traceback" not in running.server.log.text


def test_a_web_page_may_connect_to_where_it_comes_from(programs: Programs, name: str) -> None:
    running = Running(programs, name)
    running.open().end()
    for origin, status in (
        (f"https://localhost:{running.port}", 101),
        ("https://evil.example", 403),
    ):
        client = running.reach(f"Origin: {origin}\r\n")
        assert client.status == status
        client.end()


def test_health_checks_are_no_refusals(programs: Programs, name: str) -> None:
    running = Running(programs, name)
    if not running.recipe.checks:
        return
    count = "wsservice_connections_accepted_total"
    wait_until(lambda: running.admin.value(count) >= 2, "two checks")
    running.open().end()
    text = running.admin.ask("/metrics").body.decode()
    refused = re.findall(r'^wsservice_refusals_total\{reason="(.*)"\} (.+)$', text, re.MULTILINE)
    assert len(refused) > 8
    assert {value for _, value in refused} == {"0.0"}, refused


def test_a_silent_connection_stays_since_the_service_pings(programs: Programs, name: str) -> None:
    running = Running(programs, name, "--ping-interval", "0.5", "--ping-timeout", "1", minute="3")
    client = running.open()
    until = time.monotonic() + 4.5
    while time.monotonic() < until:
        opcode, payload = client._frame()
        assert opcode == PING
        client.send_frame(PONG, payload)
    assert client.close().code == 1000
    client.end()


def test_without_pings_the_gateway_ends_it(programs: Programs, name: str) -> None:
    running = Running(programs, name, "--ping-interval", "0", minute="1")
    if running.recipe.idle:
        client = running.open()
        assert client.at_end()
        client.end()
    assert "Traceback" not in running.server.log.text


def test_what_a_reload_does_to_open_connections(programs: Programs, name: str) -> None:
    running = Running(programs, name, "--protocol", "greeting")
    if running.recipe.reload is None:
        return
    client = running.open()
    running.recipe.reload(programs, running.gateway)
    if running.recipe.stays:
        # As long as it takes to serve the next, and as it might take to end this one.
        for _ in range(3):
            running.open().end()
            time.sleep(0.5)
        client.send("still there")
        running.server.log.wait_for("] Message received: still there\n")
        assert client.close().code == 1000
    else:
        if running.recipe.close_code == 1006:
            with pytest.raises(EOFError):
                client._frame()
        else:
            assert client.receive_close().code == running.recipe.close_code
        client.end()
        running.open().end()
    client.end()


def over_http_2(running: Running, *how: str) -> str:
    """Return the report of a client that speaks WebSocket over HTTP/2."""
    done = subprocess.run(
        [need_program("node"), H2, str(running.port), running.certificate, *how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("how", ["", "end"])
def test_websocket_over_http_2_is_as_the_table_says(
    programs: Programs, name: str, how: str
) -> None:
    running = Running(programs, name)
    running.open().end()
    said = over_http_2(running, how)
    assert said == ("200 Hello from server 1000" if running.recipe.h2 else "no")


# The table of surprises


def test_lighttpd_loses_a_close_frame_that_ends_its_stream(programs: Programs) -> None:
    off = '"server.h2proto" => "disable",'
    running = Running(programs, "lighttpd", instead={off: ""})
    running.open().end()
    assert over_http_2(running) == "200 Hello from server 1000"
    lost = "dropped: the peer ended TCP without a close frame"
    before = running.server.log.text.count(lost)
    assert "1000" not in over_http_2(running, "end")
    running.server.log.wait_for(lost, before + 1)


def test_envoy_forwards_no_key_from_http_2(programs: Programs) -> None:
    running = Running(
        programs,
        "Envoy",
        instead={
            "alpn_protocols: [http/1.1]": "alpn_protocols: [h2, http/1.1]",
            "stream_idle_timeout: 60s": "http2_protocol_options: {allow_connect: true}",
        },
    )
    running.open().end()
    assert over_http_2(running) == "400 over"
    running.server.log.wait_for("the Sec-WebSocket-Key is missing")


def test_the_page_names_the_services_own_options(programs: Programs) -> None:
    typed = re.findall(r"^\$ twistd -n wsdemo (.+)$", PAGE, re.MULTILINE)
    assert len(typed) == 2
    for each in typed:
        checked: Any = programs.start(
            *(BIN / "twistd", "-n", "wsdemo", *each.split(), "--check-config")
        )
        assert checked.wait() == 0, checked.stderr.text
