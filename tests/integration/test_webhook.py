"""The webhook of a service that runs, and receivers good and bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..certificates import Authority
from .conftest import Connect
from .processes import Program, Programs, wait_until
from .test_publishing import LOOPBACK, Service
from .wire import Closed

KEY = b"a secret of the test's"


class Receiver:
    """A real web server, which keeps what it was posted and answers as it is told to."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.posted: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = taken
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posted.append((headers, body))
                receiver.answer(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """It is the other end that ends, at times."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.host = "localhost"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/hook?x=1"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in list(self.posted) for event in json.loads(body)["events"]]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def taken(request: BaseHTTPRequestHandler) -> None:
    request.send_response(204)
    request.end_headers()


def failing(request: BaseHTTPRequestHandler) -> None:
    request.send_error(500)


def elsewhere(request: Any) -> None:
    request.send_response(301)
    request.send_header("Location", f"http://127.0.0.1:{request.server.server_port}/other")
    request.end_headers()


def endless(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 500 No\r\n\r\n")
    while True:
        request.wfile.write(bytes(65536))


def endless_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


def garbage(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x1b[2J\0\xff no HTTP\r\n\r\n")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.end()


def serving(programs: Programs, receiver: Receiver, *options: str, **how: Any) -> Program:
    secret = programs.folder / "secret"
    secret.touch(0o600)
    secret.write_bytes(b"whsec_" + base64.b64encode(KEY))
    return programs.twistd(
        *("--port", "0", "--webhook", receiver.url, "--webhook-secret-file", str(secret)),
        *options,
        **how,
    )


def test_who_comes_what_is_said_and_who_leaves_signed(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    program = serving(programs, receiver, "--webhook-events", "connect,message,disconnect")
    wire = connect(program.port, path="/chat")
    wire.send("<b>\u00e4")
    wire.send(b"\xff")
    assert wire.close(4000) == Closed(4000, "")
    wait_until(lambda: len(receiver.events) == 4, "four events")
    assert receiver.kinds() == ["connect", "message", "message", "disconnect"]
    connected, text, binary, left = receiver.events
    assert {each["connection"] for each in receiver.events} == {connected["connection"]}
    assert {tuple(each["channels"]) for each in receiver.events} == {("chat",)}
    assert (text["data"], binary["data64"], left["code"]) == ("<b>\u00e4", "/w==", 4000)
    for headers, body in receiver.posted:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{digest}"


@pytest.mark.parametrize("bad", [failing, elsewhere, endless, endless_head, garbage])
def test_a_bad_receiver_harms_nobody_and_is_told_later(
    programs: Programs,
    connect: Connect,
    receiver: Receiver,
    bad: Callable[[BaseHTTPRequestHandler], None],
) -> None:
    receiver.answer = bad
    program = serving(programs, receiver)
    wire = connect(program.port, path="/chat")
    program.log.wait_for("retrying, with a longer wait each time")
    receiver.answer = taken
    assert wire.receive() == "Hello from server"
    program.log.wait_for("works again")
    first, *_, last = receiver.posted
    assert first[1] == last[1]
    assert first[0]["webhook-id"] == last[0]["webhook-id"]
    assert wire.close() == Closed(1000, "")
    wait_until(lambda: receiver.kinds()[-1] == "disconnect", "the end to be told")
    assert "\x1b" not in program.log.text
    assert "Traceback" not in program.log.text


def test_a_stop_tells_what_is_left_to_tell(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    program = serving(programs, receiver, "--drain", "2")
    polite, silent = (connect(program.port, path="/chat") for _ in range(2))
    program.signal(signal.SIGTERM)
    assert polite.answer_close().code == 1001
    assert program.wait() == 0
    assert sorted(receiver.kinds()) == ["connect", "connect", "disconnect", "disconnect"]
    assert [each["code"] for each in receiver.events if each["type"] == "disconnect"] == [1001] * 2
    silent.end()


def test_a_stop_does_not_wait_for_a_dead_receiver_longer_than_its_time(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    receiver.answer = failing
    program = serving(programs, receiver, "--drain", "1")
    connect(program.port).close()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "events could not be sent before the end" in program.log.text


def test_it_is_shown_in_the_figures(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    secret = programs.folder / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    service = Service(
        programs, LOOPBACK, "--webhook", receiver.url, "--webhook-secret-file", str(secret)
    )
    connect(service.port)

    def delivered() -> bool:
        with service.connect() as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: sock.recv(65536), b""))
        return b'wsservice_webhook_events_total{outcome="delivered"} 1.0' in said

    wait_until(delivered, "the figure")


def test_with_workers_the_figures_are_those_of_all(
    programs: Programs, connect: Connect, receiver: Receiver
) -> None:
    secret = programs.folder / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    service = Service(
        *(programs, LOOPBACK, "--webhook", receiver.url, "--webhook-secret-file", str(secret)),
        *("--workers", "2"),
    )
    service.program.log.wait_for("): started", 2)
    for _ in range(4):
        connect(service.port)

    def figures() -> bytes:
        with service.connect() as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(65536), b""))

    wait_until(
        lambda: b'wsservice_webhook_events_total{outcome="delivered"} 4.0' in figures(),
        "the sum of both",
    )
    assert len({json.loads(body)["service"] for _, body in receiver.posted}) == 2
    assert b"wsservice_webhook_waiting 0.0" in figures()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificates_are_verified(
    programs: Programs, connect: Connect, tmp_path: Path, is_trusted: bool
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key, certificate = authority.certificate("localhost")
    context.load_cert_chain(certificate, key)
    receiver = Receiver(context)
    try:
        trusted = {"SSL_CERT_FILE": str(authority.file)} if is_trusted else {}
        program = serving(programs, receiver, environment=trusted)
        connect(program.port)
        if is_trusted:
            wait_until(lambda: receiver.kinds() == ["connect"], "the event")
        else:
            program.log.wait_for("failed in TLS (certificate verify failed)")
            assert receiver.posted == []
    finally:
        receiver.end()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--webhook", "http://h/"), "--webhook: 'http://h/' is not allowed without"),
        (("--webhook-secret-file", "x"), "--webhook-secret-file: 'x' is not allowed without"),
        (("--webhook", "ftp://h/"), "--webhook: 'ftp://h/' is not allowed; give a URL such as"),
        (("--webhook-events", "connect,x"), "--webhook-events: 'connect,x' is not allowed"),
        (
            ("--webhook", "http://h/", "--webhook-secret-file", "/no/such"),
            "--webhook-secret-file: /no/such cannot be read",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_started(
    programs: Programs, options: tuple[str, ...], said: str
) -> None:
    for check in ((), ("--check-config",)):
        program = programs.twistd("--port", "0", *options, *check)
        assert program.wait() == 1
        assert program.stderr.lines[0].startswith(f"wsdemo: {said}")
        assert len(program.stderr.lines) == 1
