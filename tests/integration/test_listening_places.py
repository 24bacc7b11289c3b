"""The places to listen: every kind of endpoint, with a real socket at its end."""

from __future__ import annotations

import datetime
import os
import socket
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..needs import need_ipv6
from .conftest import Connect
from .processes import BIN, Programs, free_port
from .wire import Wire


def make_certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """A key and a certificate that signs itself, for a host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "cert.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


def test_a_port_is_reached_by_ipv6_and_by_ipv4(programs: Programs, connect: Connect) -> None:
    need_ipv6()
    server = programs.twistd("--port", "0")
    for host, shown in (("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:")):
        client = connect(server.port, host)
        assert client.receive() == "Hello from server"
        client.send(f"by {host}")
        server.log.wait_for(f"Message received: by {host}\n")
        line = server.log.ending(f"by {host}")[0]
        assert f" {shown}{client.socket.getsockname()[1]}] " in line


def test_tcp_and_tcp6_endpoints_replace_the_default_port(
    programs: Programs, connect: Connect
) -> None:
    need_ipv6()
    server = programs.twistd(
        "--listen", "tcp:0:interface=127.0.0.1", "--listen", r"tcp6:0:interface=\:\:1"
    )
    ipv4, ipv6 = server.log.wait_for_ports(2)
    assert connect(ipv4).receive() == "Hello from server"
    assert connect(ipv6, "::1").receive() == "Hello from server"
    assert server.log.text.count("starting on") == 2


def test_port_and_listen_named_together_both_listen(programs: Programs, connect: Connect) -> None:
    port = free_port()
    server = programs.twistd("--listen", "tcp:0:interface=127.0.0.1", "--port", str(port))
    ports = server.log.wait_for_ports(2)
    assert port in ports
    for each in ports:
        assert connect(each).receive() == "Hello from server"


def test_a_verifying_client_talks_tls_with_an_ssl_endpoint(programs: Programs) -> None:
    key, certificate = make_certificate(programs.folder)
    server = programs.twistd(
        "--listen", f"ssl:0:privateKey={key.name}:certKey={certificate.name}:interface=127.0.0.1"
    )
    client = programs.client(
        f"wss://localhost:{server.port}/",
        *("-m", "over TLS"),
        environment={"SSL_CERT_FILE": str(certificate)},
    )
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.text == "Hello from server\n"
    server.log.wait_for("Message received: over TLS\n")


def test_a_unix_socket_is_listened_on(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--listen", "unix:ws.sock")
    server.log.wait_for("starting on")
    path = os.path.relpath(programs.folder / "ws.sock")  # the system's limit is 107 octets
    client = connect(path)
    assert client.receive() == "Hello from server"
    client.send("by file")
    server.log.wait_for("unix] Message received: by file\n")


HANDED_OVER = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='ws', LISTEN_PID=str(os.getpid()))\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
"""A start as by systemd: descriptor 3 listens, and the environment names this process."""


def test_a_socket_of_systemds_is_taken_over(programs: Programs, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        programs.start(
            *(sys.executable, "-c", HANDED_OVER, str(listener.fileno()), BIN / "twistd"),
            *("-n", "wsdemo", "--listen", "systemd:domain=INET:index=0"),
            pass_fds=[listener.fileno()],
        )
    assert connect(port).receive() == "Hello from server"


def test_behind_a_balancer_the_real_peer_is_logged(programs: Programs) -> None:
    server = programs.twistd("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    client = Wire(server.port)
    try:
        client.upgrade(before=b"PROXY TCP4 192.0.2.7 198.51.100.1 5007 80\r\n")
        assert client.receive() == "Hello from server"
        client.send("from afar")
        server.log.wait_for(" 192.0.2.7:5007] Message received: from afar\n")
    finally:
        client.end()
