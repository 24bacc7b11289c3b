"""docs/tls.md: its commands, the hook for certbot, and the recipe for Caddy, as printed."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ..certificates import Authority
from . import gateways
from .processes import BIN, PATIENCE, Program, Programs, can_connect, free_port, wait_until
from .test_tls_names import serial, served
from .wire import Wire

PAGE = (Path(__file__).parents[2] / "docs" / "tls.md").read_text()


def block(kind: str, title: str) -> str:
    """Return the first block of a kind under a heading."""
    _, _, rest = PAGE.partition(f"# {title}\n")
    found = re.search(rf"^```{kind}\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def options(command: str) -> list[str]:
    """Return the options of a printed `twistd -n wsdemo`, on a free port."""
    _, _, given = command.partition("$ twistd -n wsdemo ")
    assert given, command
    return given.strip().replace("8443", "0").split()


def files(authority: Authority, stem: str, host: str) -> tuple[Path, Path]:
    """Make the files of a certificate, `STEM.pem` and `STEM-key.pem`."""
    folder = authority.file.parent
    key, certificate = authority.certificate(host)
    return Path(shutil.move(key, folder / f"{stem}-key.pem")), Path(
        shutil.move(certificate, folder / f"{stem}.pem")
    )


def test_certificates_in_the_order_of_the_command(programs: Programs) -> None:
    authority = Authority(programs.folder)
    for stem in ("a", "b"):
        files(authority, stem, f"{stem}.example")
    server = programs.twistd(*options(block("console", "Several certificates")))
    for stem in ("a", "b"):
        expected = serial(programs.folder / f"{stem}.pem")
        assert served(authority, server.port, f"{stem}.example") == expected
    (line,) = re.findall(r"^In a file that is `(.+)`\.$", PAGE, re.MULTILINE)
    (programs.folder / "ws.toml").write_text(f'{line}\ntls_key = ["a-key.pem", "b-key.pem"]\n')
    checked = programs.twistd("--port", "0", "--config", "ws.toml", "--check-config")
    assert checked.wait() == 0, checked.stderr.text
    assert line in checked.stdout.text


def test_a_client_with_a_certificate(programs: Programs) -> None:
    authority = Authority(programs.folder)
    shutil.copy(authority.file, programs.folder / "clients.pem")
    key, certificate = files(authority, "tom", "tom")
    key, certificate = authority.certificate()
    shutil.move(key, programs.folder / "key.pem")
    certificate.replace(programs.folder / "cert.pem")
    start, connect = re.findall(
        r"^\$ .*$", block("console", "Certificates of clients"), re.MULTILINE
    )
    server = programs.twistd(*options(start))
    given = connect.removeprefix("$ wsclient ").replace("8443", str(server.port)).split()
    # The certificate of this test is an authority's, not its own.
    given[given.index("--ca") + 1] = str(authority.file)
    done = subprocess.run(
        [BIN / "wsclient", *given],
        cwd=programs.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Hello from server" in done.stdout


def _is_pid_file(program: Program, path: Path) -> bool:
    return path.exists() and path.read_text().strip() == str(program.process.pid)


def test_the_hook_of_certbot_brings_new_files_into_use(programs: Programs) -> None:
    script = block("sh", "certbot")
    folder = programs.folder
    (folder / "etc").mkdir()
    pid = folder / "twistd.pid"
    group = "-g wsservice "
    assert group in script
    here = {"/etc/wsservice/": f"{folder}/etc/", "/run/wsservice/twistd.pid": str(pid), group: ""}
    for printed, real in here.items():
        script = script.replace(printed, real)
    hook = folder / "hook"
    hook.write_text(script)
    hook.chmod(0o755)
    authority = Authority(folder)
    live = folder / "live"
    live.mkdir()

    def renew() -> str:
        """Put new files where certbot has them, and return the serial number."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ws.example")])
        key, certificate = authority.signed("new", name, [x509.DNSName("ws.example")], days=90)
        shutil.move(key, live / "privkey.pem")
        shutil.move(certificate, live / "fullchain.pem")
        return serial(live / "fullchain.pem")

    def run() -> None:
        subprocess.run(
            [hook], env={**os.environ, "RENEWED_LINEAGE": str(live)}, check=True, timeout=PATIENCE
        )

    first = renew()
    run()  # before the first start there is nobody to tell
    names = re.search(r"with `(--tls-cert \S+ --tls-key \S+)`", PAGE)
    assert names
    given = names[1].replace("/etc/wsservice/", f"{folder}/etc/").split()
    server = programs.start(
        *(BIN / "twistd", "-n", f"--pidfile={pid}", "wsdemo", "--port", "0", *given)
    )
    wait_until(lambda: _is_pid_file(server, pid), "the pid file")
    server.log.wait_for("up to ")
    port = server.log.wait_for_ports(1)[0]
    assert served(authority, port, "ws.example") == first
    second = renew()
    run()
    server.log.wait_for("changed: certificate of --port 0 (valid until ")
    assert served(authority, port, "ws.example") == second != first


pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")

_CADDY = """
{{
    admin off
    skip_install_trust
    http_port {http}
}}
"""


def test_caddy_gets_its_certificate_by_itself(programs: Programs) -> None:
    behind, port = free_port(), free_port()
    listen = [each.replace("8080", str(behind)) for each in options(PAGE_CADDY)]
    server = programs.twistd(*listen)
    site = block("caddyfile", "Caddy").replace("8080", str(behind))
    # Caddy's own authority stands for one that speaks ACME.
    site = site.replace("ws.example {", f"https://localhost:{port} {{\n    tls internal")
    gateway = gateways.caddy(programs, site, _CADDY.format(http=free_port()))
    root = programs.folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    wait_until(lambda: root.exists() and can_connect(port), f"Caddy: {gateway.stderr.text}")
    context = ssl.create_default_context(cafile=str(root))
    reached: list[Wire] = []

    def opens() -> bool:
        client = Wire(port, source="127.0.0.2")
        try:
            client.secure(context, "localhost")
            client.upgrade(headers="Forwarded: for=6.6.6.6\r\n", host=f"localhost:{port}")
        except (OSError, AssertionError):
            client.end()
            return False
        reached.append(client)
        return client.status == 101

    wait_until(opens, "Caddy to have a certificate")
    reached[-1].send("through Caddy")
    server.log.wait_for(" 127.0.0.2:0] Message received: through Caddy")
    for each in reached:
        each.end()


PAGE_CADDY = re.findall(r"^\$ twistd -n wsdemo .*--trust-proxy.*$", PAGE, re.MULTILINE)[0]
