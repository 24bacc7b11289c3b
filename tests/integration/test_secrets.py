"""No secret of a client's is ever logged: not in any format, at any level, on any way in."""

from __future__ import annotations

import base64
import signal
from urllib.parse import quote

import pytest

from .conftest import Connect
from .processes import BIN, WAYS, Daemon, Program, Programs
from .wire import CLOSE, TEXT, Wire, frame

SECRET = "S3CR3T"
"""A part of every secret below, which nothing else has."""
TOKEN = f"tok-{SECRET}-x"
QUERY = f"?token={TOKEN}&q={quote('a b ' + TOKEN)}"
BASIC = base64.b64encode(f"me:{TOKEN}".encode()).decode()
HEADERS = (
    f"Authorization: Bearer {TOKEN}\r\n"
    f"Cookie: a=b; session={TOKEN}\r\n"
    f"Sec-WebSocket-Protocol: chat, {TOKEN}\r\n"
    f"X-Api-Key: {TOKEN}\r\n"
)
SAID = [SECRET, BASIC, BASIC.rstrip("=")]

BEHAVIOUR = '''
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import fail
from wsservice import ServerProtocol


class Careless(ServerProtocol):
    """Tells what it knows in whatever it raises."""

    def onConnect(self, request):
        self.asked = request
        self.known = [
            request.params["token"][0],
            request.headers["authorization"],
            request.headers["cookie"],
            request.headers["x-api-key"],
            request.protocols,
            request.params["q"],
            self.http_request_uri,
            request,
        ]
        way = request.path.strip("/")
        if way == "raise":
            raise ValueError(*self.known)
        if way == "fail":
            return fail(KeyError(self.known[-1]))
        if way == "deny":
            raise ConnectionDeny(403, f"not with {self.known}")
        if way == "subprotocol":
            return request.protocols[1][:-2]
        if way == "header":
            return None, {"Set-Cookie": request.headers["cookie"] + "\\n"}
        return None

    def onOpen(self):
        if self.channel == "open":
            raise LookupError(self.known)

    def onMessage(self, payload, isBinary):
        super().onMessage(payload, isBinary)
        if self.channel == "message":
            raise RuntimeError(f"cannot serve {self.known}")
        if self.channel == "later":
            return self.later()

    async def later(self):
        raise PermissionError(f"not allowed: {self.known}")

    def onClose(self, wasClean, code, reason):
        if self.channel == "close":
            raise OSError(0, self.known)
'''


def head(target: str, headers: str = HEADERS, line: str = "") -> bytes:
    """A request, whole."""
    return (
        f"{line or f'GET {target} HTTP/1.1'}\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
    ).encode()


BEARER = f"Authorization: Bearer {TOKEN}"
REQUESTS = {
    "plain HTTP": f"GET /{QUERY} HTTP/1.1\r\nHost: localhost\r\n{HEADERS}\r\n".encode(),
    "a browser": (
        f"GET /{QUERY} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n{HEADERS}\r\n".encode()
    ),
    "HEAD": f"HEAD /{QUERY} HTTP/1.1\r\nHost: localhost\r\n{HEADERS}\r\n".encode(),
    "POST": head("", line=f"POST /{QUERY} HTTP/1.1"),
    "no method": head("", line=f"NONE /{QUERY} HTTP/1.1"),
    "HTTP/1.0": head("", line=f"GET /{QUERY} HTTP/1.0"),
    "no request line": head("", line=f"GET /{QUERY}"),
    "spaces in it": head("", line=f"GET /{QUERY} and more HTTP/1.1"),
    "a header first": f"{BEARER}\r\n\r\n".encode(),
    "a token first": f"{TOKEN} x y z\r\n\r\n".encode(),
    "an absolute target": head(f"http://me:{TOKEN}@localhost/{QUERY}"),
    "an absolute target with a query": head(f"http://localhost/{QUERY}"),
    "a token for a method": head("", line=f"{TOKEN} / HTTP/1.1"),
    "a fragment": head(f"/{QUERY}#{TOKEN}"),
    "a fragment alone": head(f"/#{TOKEN}"),
    "a bare line end": head("/" + QUERY).replace(f"{BEARER}\r".encode(), BEARER.encode()),
    "a bare line end at once": f"GET /{QUERY} HTTP/1.1\nHost: localhost\n\n".encode(),
    "a space before the colon": head("/" + QUERY, f"Authorization : Bearer {TOKEN}\r\n"),
    "a folded header": head("/" + QUERY, f"Authorization: Bearer\r\n {TOKEN}\r\n"),
    "a header without a colon": head("/" + QUERY, f"Bearer {TOKEN}\r\n"),
    "an odd octet in a header": head("/" + QUERY, f"{BEARER}\x0b\r\n"),
    "subprotocols that are none": head("/", f"Sec-WebSocket-Protocol: {TOKEN}, {TOKEN}\r\n"),
    "a host with a user": head("/").replace(b"Host: ", f"Host: me:{TOKEN}@".encode()),
    "two hosts": head("/" + QUERY, f"Host: a\r\n{HEADERS}"),
    "a body": head("/" + QUERY, f"Content-Length: 1\r\n{HEADERS}"),
    "too long a target": head("/" + QUERY + TOKEN * 2000),
    "too long a header": head("/" + QUERY, f"Cookie: {TOKEN * 3000}\r\n"),
    "too many headers": head("/" + QUERY, f"Cookie: {TOKEN}\r\n" * 200),
    "a foreign origin": head("/" + QUERY, f"Origin: https://evil.example\r\n{HEADERS}"),
    "an origin with more": head("/", f"Origin: https://me:{TOKEN}@a.example/{QUERY}\r\n"),
    "an origin with a query": head("/", f"Origin: https://a.example/{QUERY}\r\n"),
    "an old version": head("/" + QUERY).replace(b"Version: 13", b"Version: 8"),
    "a wrong key": head("/" + QUERY).replace(b"AAA==", b"=="),
    "no upgrade in Connection": head("/" + QUERY).replace(b"Connection: Upgrade", b"Connection: x"),
    "too early a frame": head("/" + QUERY) + frame(TEXT, b"x"),
    "an extension": head("/" + QUERY, f"Sec-WebSocket-Extensions: x; a={SECRET}\r\n{HEADERS}"),
    **{
        f"a behaviour: {way}": head(f"/{way}{QUERY}")
        for way in ("raise", "fail", "deny", "subprotocol", "header")
    },
}


ACCEPTED = {"an extension", "an absolute target with a query"}
"""The cases that open a connection."""


def ask(port: int, octets: bytes, name: str = "") -> None:
    """Send a request, and read whatever comes, to the end."""
    wire = Wire(port)
    try:
        wire.socket.sendall(octets)
        if name in ACCEPTED:
            wire.socket.sendall(frame(CLOSE, b"\x03\xe8"))
        wire.rest()
    except ConnectionError:
        pass
    finally:
        wire.end()


def written(programs: Programs) -> str:
    """All that was written to any file: logs, standard output and error."""
    files = [path for path in programs.folder.rglob("*") if path.is_file()]
    return "\n".join(
        path.read_text(errors="replace") for path in files if path.suffix not in (".py", ".pyc")
    )


def try_every_way_in(server: Program | Daemon, connect: Connect) -> None:
    port = server.port
    for name, octets in REQUESTS.items():
        ask(port, octets, name)
    for way in ("open", "message", "later", "close", "chat"):
        wire = Wire(port, path=f"/{way}{QUERY}")
        try:
            wire.upgrade(headers=HEADERS)
            assert wire.status == 101
            wire.send("a message")
            if way in ("close", "chat"):
                wire.close()
            else:
                assert wire.receive_close().code == 1011
        finally:
            wire.end()
    # Broken rules, once open.
    for octets in (b"\x8f\x80\0\0\0\0", b"\xc1\x80\0\0\0\0", frame(TEXT, b"\xff"), b"\x81\x01a"):
        wire = Wire(port, path="/chat" + QUERY)
        wire.upgrade(headers=HEADERS)
        wire.socket.sendall(octets)
        wire.receive_close()
        wire.end()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("how", WAYS)
def test_no_way_in_has_a_secret_logged(
    programs: Programs, connect: Connect, how: str, form: str
) -> None:
    (programs.folder / "careless.py").write_text(BEHAVIOUR)
    server = programs.serve(
        how,
        *("--port", "0", "--protocol", "careless.Careless", "--log-level", "debug"),
        *("--log-format", form, "--message-log-format", form),
        # All of a request that nobody finishes ends too.
        *("--handshake-timeout", "2"),
    )
    try_every_way_in(server, connect)
    server.log.wait_for("a callback failed", 4)
    server.signal(signal.SIGHUP)
    server.log.wait_for("SIGHUP: ")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    text = written(programs)
    for secret in SAID:
        assert secret not in text
    # It was tried: what the behaviour raised is there, without them.
    assert text.count("onConnect failed") == 4
    for name in ("ValueError", "KeyError", "LookupError", "RuntimeError", "PermissionError"):
        assert name in text
    assert "not with ['********', " in text
    assert "open, at /chat" in text


def test_nor_has_it_twists_own_json(programs: Programs, connect: Connect) -> None:
    (programs.folder / "careless.py").write_text(BEHAVIOUR)
    server = programs.start(
        *(BIN / "twist", "--log-level=debug", "wsdemo", "--port", "0"),
        *("--protocol", "careless.Careless", "--handshake-timeout", "2"),
    )
    try_every_way_in(server, connect)
    server.log.wait_for("a callback failed", 4)
    assert SECRET not in written(programs)


def test_nor_has_the_refusal_of_one_too_many(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--max-connections", "1", "--log-level", "debug")
    connect(server.port)
    ask(server.port, REQUESTS["plain HTTP"])
    ask(server.port, head("/" + QUERY))
    server.log.wait_for("refused with 503", 2)
    assert SECRET not in written(programs)
