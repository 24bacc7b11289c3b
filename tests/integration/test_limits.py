"""Limits on speed over real TCP: in one process and in workers, and changed while they hold."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .processes import Programs
from .test_listening_places import make_certificate
from .wire import TEXT, Closed, Wire, frame

LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"
ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def reach() -> Iterator[Callable[..., Wire]]:
    """Return a function that connects to a port, without a handshake yet."""
    with contextlib.ExitStack() as stack:

        def reach(port: int, source: str = "") -> Wire:
            wire = Wire(port, source=source)
            stack.callback(wire.end)
            return wire

        yield reach


Reach = Callable[..., Wire]

LOCAL = ("--listen", "tcp:0:interface=127.0.0.1", "--protocol", "echo")
ADMIN = ("--admin", "tcp:0:interface=127.0.0.1")


def figures(port: int) -> dict[str, float]:
    """The metrics of a service, by name and labels."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    asked.request("GET", "/metrics")
    text = asked.getresponse().read().decode()
    asked.close()
    found = re.findall(r"^wsservice_(\S+(?: by \w+\"\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def echoes(wire: Wire, count: int) -> list[str | bytes | Closed]:
    return [wire.receive() for _ in range(count)]


def send(wire: Wire, count: int, first: int = 0) -> None:
    numbers = range(first, first + count)
    wire.socket.sendall(b"".join(frame(TEXT, str(number).encode()) for number in numbers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_flood_waits_and_arrives_in_order_and_a_neighbour_is_not_concerned(
    programs: Programs, reach: Reach, workers: str
) -> None:
    options = ("--workers", workers, *ADMIN, "--limit-messages", "200:50")
    server = programs.twistd(*LOCAL, *options)
    port, admin = server.log.wait_for_ports(2)
    flood, neighbour = reach(port).upgrade(), reach(port).upgrade()
    began = time.monotonic()
    send(flood, 300)
    for number in range(20):
        neighbour.send(f"word {number}")
        assert neighbour.receive() == f"word {number}"
    assert echoes(flood, 300) == [str(number) for number in range(300)]
    # The clock here began before that of the service, and so it may not be ahead of it.
    assert 50 + 200 * (time.monotonic() - began) >= 300
    counted = figures(admin)
    assert counted['limited_total{limit="messages by connection"}'] >= 1
    assert counted["rate_waiting_connections"] == 0
    assert server.log.text.count("is over --limit-messages connection=200/s:50") == 1
    flood.close()
    neighbour.close()


def test_what_a_client_that_waits_sends_on_stays_in_its_own_system(
    programs: Programs, reach: Reach
) -> None:
    server = programs.twistd(*LOCAL, *ADMIN, "--limit-messages", "1/h:10")
    port, admin = server.log.wait_for_ports(2)
    wire = reach(port).upgrade()
    octets = frame(TEXT, b"x" * 100) * 1000
    wire.socket.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        for _ in range(1000):  # 100 MB, if it were read
            wire.socket.sendall(octets)
        pytest.fail("all was read")
    assert echoes(wire, 10) == ["x" * 100] * 10
    counted = figures(admin)
    assert counted["rate_waiting_connections"] == 1
    assert counted['octets_total{direction="received"}'] < 64 * 1024
    wire.end()


def test_too_fast_is_1008_if_wanted_and_over_tls_too(programs: Programs, reach: Reach) -> None:
    key, certificate = make_certificate(programs.folder)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    options = ("--limit-messages", "1/h:3", "--limit-action", "close")
    server = programs.twistd("--listen", listen, "--protocol", "echo", *options)
    wire = reach(server.port)
    wire.secure(ssl.create_default_context(cafile=certificate), "localhost")
    wire.upgrade()
    send(wire, 10)
    assert echoes(wire, 3) == ["0", "1", "2"]
    assert wire.receive_close() == Closed(1008, "too many messages")


def statuses(reach: Reach, port: int, source: str, count: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for _ in range(count):
        wire = reach(port, source=source)
        try:
            found[wire.upgrade().status] += 1
        finally:
            wire.end()
    return found


@pytest.mark.parametrize("workers", ["1", "3"])
def test_connects_of_one_address_are_counted_for_the_whole_service(
    programs: Programs, reach: Reach, workers: str
) -> None:
    options = ("--workers", workers, *ADMIN, "--limit-connects", "1/h:7")
    server = programs.twistd(*LOCAL, *options)
    port, admin = server.log.wait_for_ports(2)
    assert statuses(reach, port, ATTACKER, 20) == {101: 7, 429: 13}
    assert statuses(reach, port, OTHER, 5) == {101: 5}
    refused = reach(port, source=ATTACKER).upgrade()
    assert "Retry-After: 3600" in refused.head
    refused.end()
    counted = figures(admin)
    assert counted['limited_total{limit="connects by address"}'] == 14
    assert 'refusals_total{reason="too many connects"} 14.0' in _text(admin)
    assert server.log.text.count("[127.0.0.2] is over --limit-connects address=1/h:7: 429") == 1


def _text(port: int) -> str:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    asked.request("GET", "/metrics")
    text = asked.getresponse().read().decode()
    asked.close()
    return text


def test_behind_a_balancer_the_clients_address_counts_and_a_direct_port_too(
    programs: Programs, reach: Reach
) -> None:
    behind = ("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    server = programs.twistd(*LOCAL, *behind, "--limit-connects", "1/h:2")
    direct, proxied = server.log.wait_for_ports(2)

    def status(name: str) -> int:
        wire = reach(proxied)
        try:
            header = f"PROXY TCP4 {name} 127.0.0.1 5000 80\r\n"
            return wire.upgrade(before=header.encode()).status
        finally:
            wire.end()

    assert [status("192.0.2.1") for _ in range(3)] == [101, 101, 429]
    assert [status("192.0.2.2") for _ in range(3)] == [101, 101, 429]
    assert statuses(reach, direct, ATTACKER, 3) == {101: 2, 429: 1}


def test_a_reload_changes_the_limits_of_open_connections(programs: Programs, reach: Reach) -> None:
    settings = programs.folder / "ws.toml"
    settings.write_text('limit_messages = ["1/h:5"]\n')
    server = programs.twistd(*LOCAL, "--config", "ws.toml", "--workers", "2")
    wire = reach(server.port).upgrade()
    send(wire, 20)
    assert echoes(wire, 5) == [str(number) for number in range(5)]
    settings.write_text('limit_messages = ["1000:1000"]\n')
    server.signal(signal.SIGHUP)
    server.log.wait_for("changed: limit_messages")
    assert echoes(wire, 15) == [str(number) for number in range(5, 20)]
    settings.write_text("limits_dry_run = true\n")
    server.signal(signal.SIGHUP)
    server.log.wait_for("changed: limit_messages, limits_dry_run")
    send(wire, 3000)
    assert len(echoes(wire, 3000)) == 3000
    wire.close()


def test_a_user_is_limited_by_id(programs: Programs, reach: Reach) -> None:
    pytest.importorskip("wsservice.auth.tokens")
    import hashlib

    lines = [
        f"{name}:sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("tom", "ann")
    ]
    tokens = programs.folder / "tokens.txt"
    tokens.write_text("\n".join(lines) + "\n")
    tokens.chmod(0o600)
    server = programs.twistd(
        *LOCAL, "--auth", "tokens:tokens.txt", "--limit-connects", "user=1/h:2"
    )
    found = []
    for name in ("tom", "tom", "tom", "ann"):
        wire = reach(server.port).upgrade(headers=f"Authorization: Bearer {name}\r\n")
        found.append(wire.status)
        if wire.status == 429:
            assert "Retry-After: 3600" in wire.head
        wire.end()
    assert found == [101, 101, 429, 101]


def test_the_manuals_settings_are_taken_as_printed(programs: Programs) -> None:
    text = LIMITS.read_text()
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (programs.folder / "ws.toml").write_text(toml)
    (command,) = re.findall(r"^\$ twistd -n wsdemo (.*)$", text, re.MULTILINE)
    (variable,) = re.findall(r"`(WSSERVICE_\w+)=\"([^\"]*)\"`", text)
    for options, environment in (
        (["--config", "ws.toml"], {}),
        (command.split(), {}),
        ([], dict([variable])),
    ):
        checked = programs.twistd(*options, "--check-config", environment=environment)
        assert checked.wait() == 0
        assert 'limit_messages = ["50:100", "address=200"' in checked.stdout.text
