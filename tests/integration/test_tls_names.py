"""Several certificates by SNI, renewed by SIGHUP, and the metrics of their ends."""

from __future__ import annotations

import shutil
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from ..certificates import Authority
from ..needs import need_program
from .processes import PATIENCE, Program, Programs, wait_until
from .test_admin import LOOPBACK, admin_of
from .test_reloading import hang_up
from .wire import Wire

NAME = "wsservice_tls_certificate_not_after_seconds"


@pytest.fixture
def authority(programs: Programs) -> Authority:
    return Authority(programs.folder)


def served(authority: Authority, port: int, name: str) -> str:
    """Return the serial of the certificate that a client gets which asks for a name."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.check_hostname = False
    wire = Wire(port)
    try:
        wire.secure(context, name)
        assert wire.upgrade().status == 101
        assert isinstance(wire.socket, ssl.SSLSocket)
        shown = wire.socket.getpeercert()
        assert shown
        return str(shown["serialNumber"])
    finally:
        wire.end()


def serial(certificate: Path) -> str:
    return str(ssl._ssl._test_decode_cert(str(certificate))["serialNumber"])  # type: ignore[attr-defined]


class Site:
    """A service with certificates for several hosts, in files that can be replaced."""

    def __init__(
        self, programs: Programs, authority: Authority, *options: str, days: float = 30
    ) -> None:
        self.authority = authority
        self.folder = programs.folder
        self.days = days
        given = ["--port", "0", "--admin", LOOPBACK]
        for host in ("a.example", "b.example"):
            self.renew(host)
            given += ["--tls-cert", f"{host}.pem", "--tls-key", f"{host}-key.pem"]
        self.server: Program = programs.twistd(*given, *options)
        self.server.log.wait_for("starting on ", 2)
        self.port = self.server.port

    def renew(self, host: str) -> None:
        """Replace the files of a host."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        key, certificate = self.authority.signed("new", name, [x509.DNSName(host)], days=self.days)
        shutil.move(key, self.folder / f"{host}-key.pem")
        shutil.move(certificate, self.folder / f"{host}.pem")

    def serial(self, host: str) -> str:
        return serial(self.folder / f"{host}.pem")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_name_has_its_certificate_and_a_reload_replaces_all_or_none(
    programs: Programs, authority: Authority, workers: str
) -> None:
    site = Site(programs, authority, "--workers", workers)
    a, b = site.serial("a.example"), site.serial("b.example")
    for name, expected in (("a.example", a), ("b.example", b), ("c.example", a)):
        assert served(authority, site.port, name) == expected
    site.renew("b.example")
    said = hang_up(site.server)
    assert "(b.example valid until " in said
    assert "a.example" not in said

    def is_new() -> bool:
        return served(authority, site.port, "b.example") == site.serial("b.example")

    wait_until(is_new, "all workers to have it")
    assert served(authority, site.port, "a.example") == a
    # The second one is broken: the first one must not change either.
    b = site.serial("b.example")
    site.renew("a.example")
    (site.folder / "b.example.pem").write_text("none")
    assert "nothing was changed, --tls-cert: b.example.pem has no certificate" in hang_up(
        site.server
    )
    assert served(authority, site.port, "a.example") == a
    assert served(authority, site.port, "b.example") == b
    assert "renew it" not in site.server.log.text
    assert "Traceback" not in site.server.log.text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_their_ends_are_in_the_metrics_and_told_in_time(
    programs: Programs, authority: Authority, workers: str
) -> None:
    site = Site(programs, authority, "--workers", workers, days=3)
    site.server.log.wait_for("the certificate b.example of --port 0 ends on ")
    assert site.server.log.text.count("renew it, and send SIGHUP") == 2
    admin = admin_of(site.server)
    end = admin.value(NAME, port="--port 0", certificate="b.example")
    site.days = 60
    site.renew("b.example")
    hang_up(site.server)
    later = admin.value(NAME, port="--port 0", certificate="b.example")
    assert later - end == pytest.approx(57 * 86400, abs=300)
    assert admin.value(NAME, port="--port 0", certificate="a.example") == pytest.approx(
        end, abs=300
    )


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_gets_the_chain_of_its_name(
    programs: Programs, authority: Authority, version: str
) -> None:
    openssl = need_program("openssl")
    between = Authority(programs.folder, "Between", authority)
    (k1, c1), (k2, c2) = authority.certificate("a.example"), between.certificate("b.example")
    c2.write_bytes(c2.read_bytes() + between.file.read_bytes())
    server = programs.twistd(
        *("--port", "0", "--tls-cert", str(c1), "--tls-key", str(k1)),
        *("--tls-cert", str(c2), "--tls-key", str(k2)),
    )
    client = programs.start(
        *(openssl, "s_client", "-connect", f"127.0.0.1:{server.port}", version),
        *("-servername", "b.example", "-verify_hostname", "b.example", "-verify_return_error"),
        *("-CAfile", authority.file, "-alpn", "h2,http/1.1", "-brief"),
    )
    try:
        client.stderr.wait_for("Verification: OK")
        assert "b.example" in client.stderr.text
    finally:
        client.process.kill()


GARBAGE = [
    b"\0",
    b"a.example\0.evil.example",
    b"\xff" * 20,
    b"*." * 60,
    b"a" * 255,
    b"a" * 4000,
    b"." * 100,
    b"127.0.0.1",
    b"",
]


def hello(name: bytes) -> bytes:
    """A ClientHello of TLS 1.2 with a name in SNI, whatever it is."""
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    listed = len(entry).to_bytes(2, "big") + entry
    sni = b"\0\0" + len(listed).to_bytes(2, "big") + listed
    groups = b"\0\x0a\0\x06\0\x04\0\x17\0\x1d"
    signatures = b"\0\x0d\0\x06\0\x04\x04\x03\x08\x04"
    extensions = sni + groups + signatures
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x04\xc0\x2b\xc0\x2f" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def test_whatever_name_is_asked_for_there_is_an_answer_and_no_traceback(
    programs: Programs, authority: Authority
) -> None:
    site = Site(programs, authority)
    for name in (b"b.example", *GARBAGE):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as peer:
            peer.sendall(hello(name))
            answer = peer.recv(5)
            # A handshake record, or an alert; nothing else, and no end without either.
            assert answer[:1] in (b"\x16", b"\x15"), (name, answer)
    assert served(authority, site.port, "b.example") == site.serial("b.example")
    assert "Traceback" not in site.server.log.text
    assert "Unhandled" not in site.server.log.text
