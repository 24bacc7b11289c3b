"""TLS by the service itself."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest

from ..needs import need_program
from .processes import PATIENCE, Program, Programs
from .test_listening_places import make_certificate
from .wire import BINARY, CLOSE, TEXT, Wire, frame


class Secure:
    """An echo service behind TLS, and its certificate."""

    def __init__(self, programs: Programs, protocol: str = "echo") -> None:
        key, self.certificate = make_certificate(programs.folder)
        self.server: Program = programs.twistd(
            *("--protocol", protocol, "--max-message-size", "0"),
            *("--listen", f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={self.certificate}"),
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def connect(self, context: ssl.SSLContext) -> Wire:
        wire = Wire(self.server.port)
        wire.secure(context, "localhost")
        return wire.upgrade()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [16, 400_000])
def test_messages_of_any_size_come_back_whole_and_in_order(
    programs: Programs, version: ssl.TLSVersion, size: int
) -> None:
    secure = Secure(programs)
    context = secure.context()
    context.maximum_version = version
    client = secure.connect(context)
    try:
        for each in (b"a", b"b"):
            client.send(each * size)
            client.send(each)
            assert client.receive() == each * size
            assert client.receive() == each
        assert client.close().code == 1000
    finally:
        client.end()
    assert "Traceback" not in secure.server.log.text


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"]])
def test_who_names_its_protocol_in_tls_is_served_as_others_are(
    programs: Programs, offered: list[str]
) -> None:
    secure = Secure(programs)
    context = secure.context()
    context.set_alpn_protocols(offered)
    client = secure.connect(context)
    try:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        client.send("a")
        assert client.receive() == "a"
    finally:
        client.end()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        secure.connect(context)


def test_who_speaks_no_tls_is_dropped_and_the_others_are_served(programs: Programs) -> None:
    secure = Secure(programs)
    plain = Wire(secure.server.port)
    plain.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert plain.rest().startswith(b"HTTP/1.1 400 ")
    plain.end()
    client = secure.connect(secure.context())
    try:
        # Octets that are no record, in the midst of the conversation.
        raw = Wire(secure.server.port)
        raw.secure(secure.context(), "localhost")
        raw.upgrade()
        descriptor = raw.socket.detach()
        with socket.socket(fileno=descriptor) as bare:
            bare.settimeout(PATIENCE)
            bare.sendall(b"no TLS" * 100)
            while bare.recv(65536):
                pass
        client.socket.sendall(frame(BINARY, b"still here"))
        assert client.receive() == b"still here"
    finally:
        client.end()
    assert "Traceback" not in secure.server.log.text


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_that_wants_short_records_gets_all_octets(
    programs: Programs, version: str
) -> None:
    # Python's own TLS cannot ask for them (RFC 6066, 4).
    openssl = need_program("openssl")
    secure = Secure(programs)
    sent = bytes(range(256)) * 200
    request = (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    client = [openssl, "s_client", "-quiet", version, "-maxfraglen", "512"]
    with subprocess.Popen(
        [*client, "-connect", f"127.0.0.1:{secure.server.port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(request.encode())
            process.stdin.flush()
            while process.stdout.readline() not in (b"\r\n", b""):
                pass
            frames, _ = process.communicate(
                frame(BINARY, sent) + frame(CLOSE, b"\x03\xe8"), PATIENCE
            )
        finally:
            process.kill()
    assert frames == b"".join(
        frame(opcode, payload, masked=False)
        for opcode, payload in ((BINARY, sent), (CLOSE, b"\x03\xe8"))
    )


BUSY = """
from twisted.internet import reactor
from twisted.internet.task import deferLater
import wsservice

class Busy(wsservice.ServerProtocol):
    async def onMessage(self, payload, isBinary):
        await deferLater(reactor, 0.005)
        super().onMessage(payload, isBinary)
"""


def test_what_comes_right_before_the_end_is_heard(programs: Programs) -> None:
    (programs.folder / "busy.py").write_text(BUSY)
    secure = Secure(programs, "busy.Busy")
    client = secure.connect(secure.context())
    assert isinstance(client.socket, ssl.SSLSocket)
    messages = [f"number {number}" for number in range(100)]
    client.socket.sendall(b"".join(frame(TEXT, each.encode(), True) for each in messages))
    client.socket.unwrap()  # says in TLS that nothing more comes, and waits for the same
    client.end()
    secure.server.log.wait_for("Message received: number 99\n")
    heard = [line.partition("received: ")[2] for line in secure.server.log.lines]
    assert [each for each in heard if each] == messages
