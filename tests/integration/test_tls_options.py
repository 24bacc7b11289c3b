"""`--tls-cert` and `--tls-key`, and what is not TLS on such a port, or TLS on another."""

from __future__ import annotations

import socket
import ssl
import warnings
from pathlib import Path

import pytest

from ..certificates import Authority
from ..needs import need_ipv6
from .processes import PATIENCE, WAYS, Program, Programs
from .wire import Wire


@pytest.fixture
def authority(programs: Programs) -> Authority:
    return Authority(programs.folder)


def secured(authority: Authority, port: int, host: str = "127.0.0.1", **versions: object) -> Wire:
    context = ssl.create_default_context(cafile=str(authority.file))
    for name, version in versions.items():
        setattr(context, name, version)
    wire = Wire(port, host)
    wire.secure(context, "localhost")
    return wire


@pytest.mark.parametrize("how", WAYS)
def test_the_port_speaks_tls_on_both_its_families(
    programs: Programs, authority: Authority, how: str
) -> None:
    need_ipv6()
    key, certificate = authority.certificate()
    server = programs.serve(
        how, "--port", "0", "--tls-cert", certificate.name, "--tls-key", key.name
    )
    for host in ("127.0.0.1", "::1"):
        client = secured(authority, server.port, host).upgrade()
        try:
            assert client.receive() == "Hello from server"
            assert client.close().code == 1000
        finally:
            client.end()


def test_the_key_may_stand_behind_the_certificate(programs: Programs, authority: Authority) -> None:
    key, certificate = authority.certificate()
    both = programs.folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    (programs.folder / "ws.toml").write_text('port = 0\ntls_cert = "both.pem"\n')
    server = programs.twistd("--config", "ws.toml")
    client = secured(authority, server.port).upgrade()
    assert client.receive() == "Hello from server"
    client.end()


def test_it_is_as_safe_and_as_fast_as_an_endpoint_of_tls(
    programs: Programs, authority: Authority
) -> None:
    (programs.folder / "look.py").write_text(
        "import wsservice\n"
        "class Look(wsservice.ServerProtocol):\n"
        "    def onOpen(self):\n"
        "        self.sendMessage(type(self.transport).__qualname__.encode())\n"
    )
    key, certificate = authority.certificate()
    server = programs.twistd(
        *("--port", "0", "--protocol", "look.Look"),
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
    )
    client = secured(authority, server.port, maximum_version=ssl.TLSVersion.TLSv1_2)
    try:
        assert client.upgrade().receive() == "TLSTransport"
        assert isinstance(client.socket, ssl.SSLSocket)
        cipher = client.socket.cipher()
        assert cipher is not None
        assert cipher[0].startswith("ECDHE-")
    finally:
        client.end()
    for version, ciphers in ((771, "ECDHE+AES:!AESGCM:!AESCCM"), (770, "ALL:@SECLEVEL=0")):
        context = ssl.create_default_context(cafile=str(authority.file))
        context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = ssl.TLSVersion(version)
        wire = Wire(server.port)
        with pytest.raises(ssl.SSLError):
            wire.secure(context, "localhost")
        wire.end()
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    wire = Wire(server.port)
    wire.secure(context, "localhost")
    assert isinstance(wire.socket, ssl.SSLSocket)
    assert wire.socket.selected_alpn_protocol() == "http/1.1"
    wire.end()


class TestRefused:
    def refused(self, programs: Programs, *options: str | Path) -> str:
        said = []
        for check in ((), ("--check-config",)):
            program = programs.twistd("--port", "0", *options, *check)
            assert program.wait() == 1
            assert program.stdout.text == ""
            assert len(program.stderr.lines) == 1
            said.append(program.stderr.text)
        assert said[0] == said[1]
        return said[0]

    def test_what_cannot_be_is_one_line_and_status_1(
        self, programs: Programs, authority: Authority
    ) -> None:
        key, certificate = authority.certificate()
        other, _ = authority.certificate("other.example")
        locked, of_locked = authority.certificate("locked.example", password=b"secret")
        for options, words in (
            (("--tls-key", key), "--tls-key: is not allowed alone; give --tls-cert too"),
            (("--tls-cert", "none.pem"), "--tls-cert: none.pem cannot be read, No such file"),
            (("--tls-cert", certificate), f"--tls-cert: {certificate} has no key;"),
            (("--tls-cert", certificate, "--tls-key", other), f"--tls-key: {other} does not have"),
            (("--tls-cert", of_locked, "--tls-key", locked), f"--tls-key: {locked} has an encr"),
        ):
            assert self.refused(programs, *options).startswith(f"wsdemo: {words}")

    def test_without_a_port_there_is_nothing_to_speak_it_on(
        self, programs: Programs, authority: Authority
    ) -> None:
        program = programs.twistd("--listen", "tcp:0", "--tls-cert", "x.pem")
        assert program.wait() == 1
        assert program.stderr.text.startswith("wsdemo: --tls-cert: is not allowed without a --port")

    def test_an_endpoint_whose_key_is_another_does_not_start(
        self, programs: Programs, authority: Authority
    ) -> None:
        _, certificate = authority.certificate()
        other, _ = authority.certificate("other.example")
        program = programs.twistd("--listen", f"ssl:0:privateKey={other}:certKey={certificate}")
        assert program.wait() == 1
        assert len(program.stderr.lines) == 1
        assert "keys do not match" in program.stderr.text


def lines_of(server: Program, port: int, part: str) -> list[str]:
    """Return the log lines of the client at a port, once one contains `part`."""
    server.log.wait_for(part)
    return [line for line in server.log.lines if f":{port}]" in line]


@pytest.mark.parametrize("endpoint", [False, True])
@pytest.mark.parametrize("upgrade", ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"])
def test_plain_http_on_a_port_of_tls_is_told_so_at_once(
    programs: Programs, authority: Authority, endpoint: bool, upgrade: str
) -> None:
    key, certificate = authority.certificate()
    options: tuple[str | Path, ...] = ("--port", "0", "--tls-cert", certificate, "--tls-key", key)
    if endpoint:
        options = ("--listen", f"ssl:0:privateKey={key}:certKey={certificate}")
    server = programs.twistd(*options, "--handshake-timeout", "0")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(f"GET /?token=secret HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
        answer = b""
        while more := plain.recv(4096):
            answer += more
        own = plain.getsockname()[1]
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert body == "this port speaks TLS; connect with wss:// or https://\n"
    (line,) = lines_of(server, own, "plain HTTP on a port of TLS; connect with wss://")
    assert "[wsservice#info]" in line
    assert "secret" not in server.log.text
    assert "Traceback" not in server.log.text


@pytest.mark.parametrize("octets", [b"\0" * 100, b"SSH-2.0-x\r\n", b"\x80\x2e\x01\0\x02"])
def test_what_is_neither_ends_too(programs: Programs, authority: Authority, octets: bytes) -> None:
    key, certificate = authority.certificate()
    server = programs.twistd(
        *("--port", "0", "--tls-cert", certificate, "--tls-key", key), "--handshake-timeout", "3"
    )
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(octets)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert "Traceback" not in server.log.text


def test_tls_on_a_plain_port_fails_at_once(programs: Programs) -> None:
    server = programs.twistd("--port", "0", "--handshake-timeout", "0")
    wire = Wire(server.port)
    own = wire.socket.getsockname()[1]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        wire.secure(ssl.create_default_context(), "localhost")
    wire.end()
    (line,) = lines_of(server, own, "the client speaks TLS, and this port does not")
    assert "[wsservice#info]" in line
    assert "Traceback" not in server.log.text
