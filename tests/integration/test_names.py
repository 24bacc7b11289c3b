"""Every name that DNS may have, looked up as the machine does: client, broker and webhook."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from ..certificates import Authority
from .conftest import Connect
from .names import Names
from .processes import Programs, wait_until
from .redis import Redises
from .test_broker import with_tls
from .test_client_connecting import SecureHosts, greeted, secure
from .test_client_program import Hosts, failed, hosts
from .test_webhook import Receiver, receiver, serving

__all__ = ["hosts", "receiver", "secure"]

NAMES = ["my_service", "r3---sn.cdn.example", "b--ehind.a_.example", "dotted.example."]
UNKNOWN = "no_such---name.example"


@pytest.fixture
def programs(programs: Programs) -> Programs:
    """Programs that know these names."""
    programs.within = Names(programs.folder, NAMES).seen_by
    return programs


@pytest.mark.parametrize("name", NAMES)
def test_the_client_connects(hosts: Hosts, programs: Programs, name: str) -> None:
    running = programs.client(f"ws://{name}:{hosts.port}/")
    host = hosts.next()
    assert f"\r\nHost: {name}:{hosts.port}\r\n" in host.head
    greeted(running, host)
    assert running.stderr.text == ""


@pytest.mark.parametrize("name", NAMES)
def test_by_tls_too(secure: Callable[..., SecureHosts], programs: Programs, name: str) -> None:
    authority = Authority(programs.folder)
    server = secure(*authority.certificate(name.removesuffix(".")))
    running = programs.client(f"wss://{name}:{server.port}/", "--ca", authority.file)
    host = server.next()
    assert f"\r\nHost: {name}:{server.port}\r\n" in host.head
    greeted(running, host)
    assert server.names == [name.removesuffix(".")]


def test_the_certificate_is_still_for_the_name(
    secure: Callable[..., SecureHosts], programs: Programs
) -> None:
    authority = Authority(programs.folder)
    server = secure(*authority.certificate("another_service"))
    running = programs.client(f"wss://my_service:{server.port}/", "--ca", authority.file)
    server.refused()
    failed(running, 4, "the certificate is not for this host")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_name_that_nobody_knows_is_one_line_and_a_status(programs: Programs, scheme: str) -> None:
    failed(programs.client(f"{scheme}://{UNKNOWN}/"), 3, "its name is not known")


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("a..b", 5, "a host's name has no two dots in a row"),
        ("x" * 64, 5, "a host's name has at most 63 characters"),
        (UNKNOWN, 3, "its name is not known"),
    ],
)
def test_a_redirect_to_no_host_has_an_end(
    hosts: Hosts, programs: Programs, scheme: str, name: str, status: int, said: str
) -> None:
    # Nothing but the end of the attempt ends it.
    running = programs.client(hosts.url, "--connect-timeout", "0", "--handshake-timeout", "0")
    host = hosts.next()
    host.socket.sendall(f"HTTP/1.1 302 Found\r\nLocation: {scheme}://{name}/\r\n\r\n".encode())
    failed(running, status, said)


def test_a_redirect_to_a_name_is_followed(hosts: Hosts, programs: Programs) -> None:
    running = programs.client(hosts.url)
    where = f"http://my_service:{hosts.port}/ü"
    hosts.next().socket.sendall(f"HTTP/1.1 307 X\r\nLocation: {where}\r\n\r\n".encode())
    host = hosts.next()
    assert host.head.startswith("GET /%C3%BC HTTP/1.1\r\n")
    greeted(running, host)


_LIBRARY = """
import sys
from twisted.internet.task import react
from wsservice.client import connect
from wsservice.errors import WSServiceError

async def main(reactor):
    try:
        connection = await connect(sys.argv[1], connect_timeout=0, handshake_timeout=0)
    except WSServiceError as error:
        print(type(error).__name__, error)
    else:
        print(await connection.recv())
        await connection.close()

react(main)
"""


@pytest.mark.parametrize("name", ["my_service", UNKNOWN])
def test_so_does_the_library(hosts: Hosts, programs: Programs, name: str) -> None:
    running = programs.start(sys.executable, "-c", _LIBRARY, f"ws://{name}:{hosts.port}/")
    if name != UNKNOWN:
        host = hosts.next().accept()
        host.send("hello")
        host.receive_close()
        host.send_close(1000)
        host.end()
    assert running.wait() == 0
    assert running.stderr.text == ""
    said = f"ConnectError cannot connect to ws://{name}:{hosts.port}/: its name is not known"
    assert running.stdout.text == f"{'hello' if name != UNKNOWN else said}\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_broker(programs: Programs, redises: Redises, name: str) -> None:
    server = redises.start()
    program = programs.twistd("--port", "0", "--broker", f"redis://{name}:{server.port}")
    program.log.wait_for(f"broker redis://{name}:{server.port}: connected to Redis")


def test_workers_know_them_too(
    programs: Programs, redises: Redises, connect: Connect, receiver: Receiver
) -> None:
    receiver.host = "my_service"
    broker = f"redis://my_service:{redises.start().port}"
    program = serving(programs, receiver, "--broker", broker, "--workers", "2")
    program.log.wait_for(f"broker {broker}: connected to Redis", 2)
    connect(program.port)
    wait_until(lambda: receiver.kinds() == ["connect"], "the event")


def test_the_broker_by_tls(programs: Programs, redises: Redises) -> None:
    authority = Authority(programs.folder)
    _, where = with_tls(redises, authority, "my_service")
    program = programs.twistd(
        *("--port", "0", "--broker", f"rediss://{where}?ca={authority.file}"),
    )
    program.log.wait_for(f"broker rediss://{where}: connected to Redis")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_broker_that_nobody_knows_is_tried_again(programs: Programs, scheme: str) -> None:
    program = programs.twistd("--port", "0", "--broker", f"{scheme}://{UNKNOWN}")
    program.log.wait_for(f"{UNKNOWN}:6379: its name is not known")
    assert "Traceback" not in program.log.text
    assert "Unhandled" not in program.log.text


def published(request: BaseHTTPRequestHandler) -> None:
    body = b'{"handed": 1, "dropped": 0}'
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.mark.parametrize("name", NAMES)
def test_publishing_by_tls(programs: Programs, name: str) -> None:
    authority = Authority(programs.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key, certificate = authority.certificate(name.removesuffix("."))
    context.load_cert_chain(certificate, key)
    face = Receiver(context)
    face.answer = published
    try:
        program = programs.start(
            *(sys.executable, "-m", "wsservice.publish", "news", "hello"),
            *("--url", f"https://{name}:{face.port}"),
            environment={"SSL_CERT_FILE": str(authority.file)},
        )
        assert program.wait() == 0, program.stderr.text
        ((headers, body),) = face.posted
        assert (headers["host"], body) == (f"{name}:{face.port}", b"hello")
    finally:
        face.end()


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_webhook(programs: Programs, connect: Connect, is_secure: bool) -> None:
    authority = Authority(programs.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key, certificate = authority.certificate("my_service")
    context.load_cert_chain(certificate, key)
    receiver = Receiver(context if is_secure else None)
    receiver.host = "my_service"
    try:
        trusted = {"SSL_CERT_FILE": str(authority.file)}
        program = serving(programs, receiver, environment=trusted)
        connect(program.port)
        wait_until(lambda: receiver.kinds() == ["connect"], "the event")
    finally:
        receiver.end()


def test_a_webhook_that_nobody_knows_is_tried_again(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    receiver.host = UNKNOWN
    program = serving(programs, receiver)
    connect(program.port)
    program.log.wait_for(f"webhook http://{UNKNOWN}:{receiver.port}: failed: its name is not known")
    assert "Traceback" not in program.log.text
