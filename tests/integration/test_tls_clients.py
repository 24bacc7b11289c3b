"""`--tls-client-ca` and `--auth tls:…`: clients with certificates, and those without a good one."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ..certificates import Authority
from ..needs import need_program
from .processes import Program, Programs
from .test_reloading import hang_up
from .wire import Wire

BEHAVIOUR = """
import wsservice

class Told(wsservice.ServerProtocol):
    def onOpen(self):
        user = self.user
        self.sendMessage((user.id if user else "nobody").encode())
"""

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

Pair = tuple[Path, Path]
"""The files of a key and of a certificate."""


class Mutual:
    """A service that asks for certificates, and clients of it."""

    def __init__(self, programs: Programs, *options: str, listen: str = "") -> None:
        self.folder = programs.folder
        self.authority = Authority(self.folder)
        key, certificate = self.authority.certificate()
        (self.folder / "told.py").write_text(BEHAVIOUR)
        (self.folder / "ws.toml").write_text("")
        where = ["--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key)]
        if listen:
            where = ["--listen", listen.format(key=key, certificate=certificate)]
        self.server: Program = programs.twistd(
            *(*where, "--tls-client-ca", str(self.authority.file), "--config", "ws.toml"),
            *("--protocol", "told.Told", *options),
        )
        self.port = self.server.port
        self._stack = contextlib.ExitStack()

    def named(self, name: str, *names: x509.GeneralName, **how: Any) -> Pair:
        """Return the files of a client's certificate."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self.authority.signed(f"client-{name.encode().hex()}", subject, list(names), **how)

    def open(
        self, pair: Pair | None, version: ssl.TLSVersion | None = None, before: bytes = b""
    ) -> Wire:
        """Return a connection that has asked to upgrade. Raises `OSError` without TLS."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.maximum_version = version or ssl.TLSVersion.TLSv1_3
        if pair is not None:
            context.load_cert_chain(pair[1], pair[0])
        wire = Wire(self.port)
        self._stack.callback(wire.end)
        if before:
            wire.socket.sendall(before)
        wire.secure(context, "localhost")
        return wire.upgrade()

    def user(self, pair: Pair | None, **how: Any) -> str:
        wire = self.open(pair, **how)
        assert wire.status == 101, wire.head
        said = wire.receive()
        assert isinstance(said, str)
        return said

    def fails(self, pair: Pair | None, version: ssl.TLSVersion, why: str) -> None:
        """Check that the handshake fails, with one line in the log."""
        before = self.server.log.text.count("] TLS: ")
        with pytest.raises((OSError, AssertionError)):
            self.open(pair, version)
        self.server.log.wait_for(f"] TLS: {why}\n")
        assert self.server.log.text.count("] TLS: ") == before + 1

    def end(self) -> None:
        self._stack.close()


@pytest.fixture
def mutual(programs: Programs) -> Iterator[Callable[..., Mutual]]:
    with contextlib.ExitStack() as stack:

        def make(*options: str, **how: Any) -> Mutual:
            made = Mutual(programs, *options, **how)
            stack.callback(made.end)
            return made

        yield make


pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_only_those_with_a_certificate_get_in(
    mutual: Callable[..., Mutual], programs: Programs, version: ssl.TLSVersion, workers: str
) -> None:
    service = mutual("--workers", workers)
    assert service.user(service.named("tom"), version=version) == "nobody"
    other = Authority(programs.folder, "Other")
    service.fails(None, version, "peer did not return a certificate")
    service.fails(
        service.named("eve", expired=True),
        version,
        "certificate verify failed: certificate has expired",
    )
    service.fails(
        other.certificate("mallory"),
        version,
        "certificate verify failed: unable to get local issuer certificate",
    )
    assert "Traceback" not in service.server.log.text


FIELDS = {
    "cn": "Tom Tester",
    "subject": "CN=Tom Tester",
    "san-email": "tom@app.example",
    "san-dns": "tom.app.example",
    "san-uri": "spiffe://app.example/tom",
}
NAMES = (
    x509.RFC822Name("tom@app.example"),
    x509.DNSName("tom.app.example"),
    x509.UniformResourceIdentifier("spiffe://app.example/tom"),
)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_it_is_the_user(mutual: Callable[..., Mutual], field: str) -> None:
    service = mutual("--auth", f"tls:{field}")
    assert service.user(service.named("Tom Tester", *NAMES)) == FIELDS[field]
    others = (
        x509.RFC822Name("mallory@app.example"),
        x509.DNSName("mallory"),
        x509.UniformResourceIdentifier("urn:mallory"),
    )
    second = ("mallory", *NAMES, *others) if field.startswith("san") else ("tom\0mallory",)
    for wrong in (
        service.named("tom\x1b[31m\nmallory", x509.DNSName("a\nmallory")),
        service.named(*second),
    ):
        answer = service.open(wrong)
        assert answer.status == 401
        assert "mallory" not in answer.head
    assert "\x1b" not in service.server.log.text
    assert "mallory" not in service.server.log.text
    assert "Traceback" not in service.server.log.text


@pytest.mark.parametrize(
    "listen", ["ssl:0:interface=127.0.0.1", "haproxy:ssl:0:interface=127.0.0.1"]
)
def test_an_endpoint_of_tls_asks_too(mutual: Callable[..., Mutual], listen: str) -> None:
    service = mutual("--auth", "tls:cn", listen=listen + ":privateKey={key}:certKey={certificate}")
    before = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" if "haproxy" in listen else b""
    assert service.user(service.named("tom"), before=before) == "tom"
    with pytest.raises((OSError, AssertionError)):
        service.open(None, before=before)
    service.server.log.wait_for("] TLS: peer did not return a certificate\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_it_may_be_left_out_where_users_are_optional(
    mutual: Callable[..., Mutual], programs: Programs, version: ssl.TLSVersion
) -> None:
    service = mutual("--auth", "tls:cn", "--auth-optional")
    assert service.user(None, version=version) == "nobody"
    assert service.user(service.named("tom"), version=version) == "tom"
    # One that is not valid is no certificate that was left out.
    service.fails(
        Authority(programs.folder, "Other").certificate("tom"),
        version,
        "certificate verify failed: unable to get local issuer certificate",
    )


def test_other_credentials_may_stand_beside_it(
    mutual: Callable[..., Mutual], programs: Programs
) -> None:
    tokens = programs.folder / "tokens.txt"
    tokens.touch(0o600)
    service = mutual("--auth", "tls:cn", "--auth", f"tokens:{tokens}")
    assert service.user(service.named("tom")) == "tom"
    answer = service.open(None)
    assert answer.status == 401
    assert "WWW-Authenticate: Bearer" in answer.head


def test_a_connection_ends_with_its_certificate(mutual: Callable[..., Mutual]) -> None:
    service = mutual("--auth", "tls:cn")
    wire = service.open(service.named("tom", days=5 / 86400))
    assert wire.receive() == "tom"
    closed = wire.receive_close()
    assert (closed.code, closed.reason) == (1008, "expired")


def test_other_authorities_by_a_reload(mutual: Callable[..., Mutual], programs: Programs) -> None:
    service = mutual("--auth", "tls:cn")
    stays = service.open(service.named("tom"))
    assert stays.receive() == "tom"
    other = Authority(programs.folder, "Other")
    service.authority.file.rename(programs.folder / "first.pem")
    service.authority.file.write_bytes(other.file.read_bytes())
    assert "(other authorities of clients)" in hang_up(service.server)
    service.authority.file = programs.folder / "first.pem"
    assert service.user(other.certificate("ann")) == "ann"
    with pytest.raises((OSError, AssertionError)):
        service.open(service.named("tom"))
    stays.send("still here")
    service.server.log.wait_for("Message received: still here")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_not_resumed_by_openssl(mutual: Callable[..., Mutual], version: str) -> None:
    openssl = need_program("openssl")
    service = mutual("--auth", "tls:cn", "--auth-optional")
    key, certificate = service.named("tom")
    client = [openssl, "s_client", "-connect", f"127.0.0.1:{service.port}", version]
    client += ["-CAfile", str(service.authority.file), "-servername", "localhost"]
    session = service.folder / "session.pem"
    for more in (
        ["-key", str(key), "-cert", str(certificate), "-sess_out", str(session)],
        ["-sess_in", str(session)],
    ):
        if more[0] == "-sess_in" and not session.exists():
            return  # the server gave nothing to resume by
        done = _run(client + more)
        assert "New, TLSv1." in done, done
        assert "Reused, " not in done


def _run(command: list[str]) -> str:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=45, check=False)
    return done.stdout.decode(errors="replace")


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (["--tls-client-ca", "x.pem"], "--tls-client-ca: is not allowed without TLS"),
            (["--auth", "tls:cn"], "--auth: tls is not allowed without --tls-client-ca"),
        ],
    )
    def test_without_tls(self, programs: Programs, options: list[str], why: str) -> None:
        program = programs.twistd("--port", "0", *options)
        assert program.wait() == 1
        assert f"wsdemo: {why}" in program.stderr.text
        assert len(program.stderr.lines) == 1

    def test_a_wrong_field_or_file(self, programs: Programs) -> None:
        authority = Authority(programs.folder)
        key, certificate = authority.certificate()
        tls = ["--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key)]
        for options, why in (
            (["--tls-client-ca", str(key)], "--tls-client-ca: "),
            (["--tls-client-ca", str(authority.file), "--auth", "tls:dn"], "--auth: 'tls:dn' is"),
        ):
            program = programs.twistd(*tls, *options)
            assert program.wait() == 1
            assert f"wsdemo: {why}" in program.stderr.text
            assert len(program.stderr.lines) == 1
