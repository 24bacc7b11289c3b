"""Clients with certificates that are not good, and with names that are none, in TLS handshakes."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import time
from pathlib import Path

from ..certificates import Authority
from ..integration.test_listening_places import make_certificate
from ..integration.test_tls_names import GARBAGE, hello
from .harness import MIB, Attack, row
from .styles import REQUEST

_OPTIONS = ("--tls-client-ca", "cert.pem")
"""The service trusts its own certificate alone, of which no attacker has the key."""


def _pairs(folder: Path) -> dict[str, tuple[Path, Path] | None]:
    """Return the files of keys and certificates, by what is wrong with them."""
    own = folder / "own"
    own.mkdir()
    authority = Authority(folder, "Other")
    key, certificate = authority.certificate("chain")
    pairs: dict[str, tuple[Path, Path] | None] = {
        "none": None,
        "self-signed": make_certificate(own),
        "foreign": authority.certificate("foreign"),
        "expired": authority.certificate("eve", expired=True),
    }
    for count in (50, 90, 1000):
        chain = folder / f"chain-{count}.pem"
        chain.write_bytes(certificate.read_bytes() + authority.file.read_bytes() * count)
        pairs[f"a chain of {count}"] = (key, chain)
    return pairs


def _is_refused(attack: Attack, pair: tuple[Path, Path] | None, version: ssl.TLSVersion) -> bool:
    """Return True if a client does not get as far as an answer to its request."""
    context = attack.context()
    context.maximum_version = version
    if pair is not None:
        context.load_cert_chain(pair[1], pair[0])
    peer = attack.socket(tls=True)
    try:
        peer = context.wrap_socket(peer, server_hostname="localhost")
        peer.sendall(REQUEST)
        return not peer.recv(1000)
    except OSError:
        return True
    finally:
        peer.close()


@row(
    "certificates of clients: none, self-signed, foreign, expired, chains of 50 to 1,000",
    "the handshake fails, with one log line",
    options=_OPTIONS,
    tls=True,
    memory=4 * MIB,
)
def test_a_certificate_that_is_not_good_fails_the_handshake(attack: Attack) -> str:
    before = attack.server.log.text.count("] TLS: ")
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        pairs = _pairs(Path(folder))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for what, pair in pairs.items():
                for _ in range(5):
                    assert _is_refused(attack, pair, version), what
                    count += 1
    attack.server.log.wait_for("] TLS: ", before + count)
    said = attack.server.log.text
    assert said.count("] TLS: ") == before + count
    return f"{count} handshakes failed, {count} lines"


@row(
    "names in SNI: NUL, beyond ASCII, of 4,000 octets, none",
    "an alert, or the first certificate",
    tls=True,
)
def test_a_name_that_is_none_changes_nothing(attack: Attack) -> str:
    answers = set()
    for name in GARBAGE * 5:
        peer = attack.socket(tls=True)
        peer.sendall(hello(name))
        first = peer.recv(1)
        answers.add({b"\x16": "the certificate", b"\x15": "an alert"}[first])
        with contextlib.suppress(OSError):
            peer.close()
    time.sleep(0.1)
    return " or ".join(sorted(answers))
