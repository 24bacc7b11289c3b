"""JSON Web Tokens at a service that runs, with keys in files and at an issuer."""

from __future__ import annotations

import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joserfc.jwk
import joserfc.jwt
import pytest

from ..certificates import Authority
from ..tokens import SECRET, Signer, hmac_token, jwks
from .issuer import Issuer, elsewhere, failing, half, huge, slow
from .processes import BIN, Program, Programs, wait_until
from .wire import Wire

ANEW = "SIGHUP: the settings were read anew; "
NOT = "SIGHUP: nothing was changed, "


def ask(port: int, token: str | None, headers: str = "") -> Wire:
    """A connection that was asked for with a token."""
    said = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    return Wire(port).upgrade(headers=said + headers)


def status(port: int, token: str | None) -> int:
    wire = ask(port, token)
    wire.end()
    return wire.status


def body(port: int, token: str) -> str:
    wire = ask(port, token)
    rest = wire.rest().decode()
    wire.end()
    return rest


def reload(program: Program) -> str:
    """Send SIGHUP: the line about it."""
    before = program.log.text.count("SIGHUP: ")
    program.signal(signal.SIGHUP)
    program.log.wait_for("SIGHUP: ", before + 1)
    return [line for line in program.log.lines if "SIGHUP: " in line][-1]


def private(path: Path, octets: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(octets)
    return path


@pytest.fixture
def issuers() -> Iterator[list[Issuer]]:
    made: list[Issuer] = []
    yield made
    for each in made:
        each.end()


def test_a_secret_in_a_file_rotated_by_sighup(programs: Programs) -> None:
    file = private(programs.folder / "secret", SECRET + b"\n")
    program = programs.twistd("--port", "0", "--auth", f"jwt:{file}", "--auth-audience", "ws")
    good = Signer("HS256").token("tom", aud=["web", "ws"])
    wire = ask(program.port, good)
    assert wire.status == 101
    assert wire.receive() == "Hello from server"
    assert status(program.port, None) == 401
    assert "the token names no audience (aud)" in body(program.port, Signer("HS256").token())
    other = Signer("ES256", "one")
    file.write_bytes(b'{"keys": [')
    assert NOT in reload(program)
    assert status(program.port, good) == 101
    file.write_bytes(jwks(other))
    assert ANEW in (line := reload(program))
    assert "the keys of --auth" in line
    assert status(program.port, good) == 401
    assert status(program.port, other.token(aud="ws")) == 101
    wire.send("still there")
    program.log.wait_for("Message received: still there")
    wire.end()
    file.write_bytes(SECRET)
    file.chmod(0o644)
    assert "chmod 600 it" in reload(program)
    assert status(program.port, other.token(aud="ws")) == 101
    assert good.split(".")[2] not in program.log.text
    assert "Traceback" not in program.log.text


def test_the_end_of_a_token_is_the_end_of_the_connection(programs: Programs) -> None:
    file = private(programs.folder / "secret", SECRET)
    program = programs.twistd("--port", "0", "--auth", f"jwt:{file}")
    port = program.port
    wire = ask(port, Signer("HS256").token(exp=time.time() + 2))
    assert wire.status == 101
    said = wire.receive_close()
    assert (said.code, said.reason) == (1008, "expired")
    wire.end()
    assert "the token has expired (exp)" in body(port, Signer("HS256").token(exp=1))
    assert status(port, Signer("HS256").token(exp=time.time() - 5)) == 101  # by the leeway


@pytest.mark.parametrize("workers", [1, 2])
def test_an_issuer_whose_keys_are_rotated(
    programs: Programs, issuers: list[Issuer], workers: int
) -> None:
    one, other = Signer("RS256", "one"), Signer("EdDSA", "other")
    issuer = Issuer(one)
    issuers.append(issuer)
    program = programs.twistd(
        *("--port", "0", "--auth", f"jwt:{issuer.url}", "--workers", str(workers)),
    )
    if workers > 1:
        program.log.wait_for("): started", workers)
    port = program.port
    assert status(port, one.token()) == 101
    # A token with a key that the set has just got makes the service fetch it.
    issuer.publish(one, other)
    wait_until(
        lambda: [status(port, other.token()) for _ in range(8)] == [101] * 8, "the new key in all"
    )
    # By another library, under the name that RFC 9864 gives the algorithm.
    key: Any = joserfc.jwk.import_key(other.private_pem, "OKP")
    header = {"alg": "Ed25519", "kid": "other"}
    claims = {"sub": "eve", "exp": int(time.time()) + 60}
    token = joserfc.jwt.encode(header, claims, key, algorithms=["Ed25519"])
    assert status(port, token) == 101
    # A key that was withdrawn is gone after a reload.
    issuer.publish(other)
    program.signal(signal.SIGHUP)
    wait_until(
        lambda: [status(port, one.token()) for _ in range(8)] == [401] * 8, "the old key gone"
    )
    # An issuer that is away: the last keys are kept.
    issuer.end()
    program.signal(signal.SIGHUP)
    program.log.wait_for("the last ones are kept, for 24 hours", workers)
    assert status(port, other.token()) == 101
    # Nobody can tell whether a key is known that is not among them.
    assert status(port, Signer("ES256", "third").token()) in (401, 503)
    assert "Traceback" not in program.log.text


def test_an_issuer_by_https(programs: Programs, issuers: list[Issuer], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    key, certificate = authority.certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    one = Signer("ES256", "one")
    issuer = Issuer(one, context=context)
    issuers.append(issuer)
    options = ("--port", "0", "--auth", f"jwt:{issuer.url}")
    refused = programs.twistd(*options)
    assert refused.wait() == 1
    assert "it failed in TLS (" in refused.stderr.text
    assert len(refused.stderr.lines) == 1
    program = programs.twistd(*options, environment={"SSL_CERT_FILE": str(authority.file)})
    assert status(program.port, one.token()) == 101
    other = Signer("PS256", "other")
    issuer.publish(other)
    assert status(program.port, other.token()) == 101


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (failing, "it answered 500"),
        (elsewhere, "it answered 302, and redirects are not followed"),
        (half, "it broke off its answer"),
        (huge, "it answered with more than 262144 octets"),
        (slow, "it gave no answer within 5 s"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_no_key_at_the_start_is_one_line_and_status_1(
    programs: Programs, issuers: list[Issuer], answer: Any, why: str, workers: int
) -> None:
    issuer = Issuer(Signer("ES256", "one"))
    issuer.answer = answer
    issuers.append(issuer)
    program = programs.twistd(
        *("--port", "0", "--workers", str(workers), "--auth", f"jwt:{issuer.url}?key=s3cret")
    )
    assert program.wait() == 1
    (line,) = program.stderr.lines
    assert line.startswith("wsdemo: --auth: no key could be fetched from http://localhost:")
    assert why in line
    assert "s3cret" not in line


def test_an_issuer_that_is_not_there_at_the_start(
    programs: Programs, issuers: list[Issuer]
) -> None:
    issuer = Issuer()
    issuer.end()
    program = programs.twistd("--port", "0", "--auth", f"jwt:{issuer.url}")
    assert program.wait() == 1
    (line,) = program.stderr.lines
    assert "it failed: Connection refused" in line


@pytest.mark.parametrize(
    ("octets", "mode", "why"),
    [
        (SECRET, 0o644, "has a secret, and may be read by every user of this machine; chmod 600"),
        (b"", 0o600, "it is empty"),
        (b'{"keys": []}', 0o600, "no key that can be used"),
        (Signer("ES256").pem[:99], 0o600, "PEM"),
    ],
    ids=["secret", "empty", "keys", "pem"],
)
def test_a_file_that_cannot_be_used_is_one_line_and_status_1(
    programs: Programs, octets: bytes, mode: int, why: str
) -> None:
    file = private(programs.folder / "keys", octets)
    file.chmod(mode)
    program = programs.twistd("--port", "0", "--auth", f"jwt:{file}")
    assert program.wait() == 1
    (line,) = program.stderr.lines
    assert why in line


def test_keys_that_openssl_made(programs: Programs) -> None:
    """They are in PEM, and the private one stays with the issuer."""
    folder = programs.folder
    for command in (
        "openssl ecparam -name prime256v1 -genkey -noout -out private.pem",
        "openssl ec -in private.pem -pubout -out public.pem",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    program = programs.twistd("--port", "0", "--auth", "jwt:public.pem")
    key: Any = joserfc.jwk.import_key((folder / "private.pem").read_bytes(), "EC")
    token = joserfc.jwt.encode({"alg": "ES256"}, {"sub": "tom"}, key)
    assert status(program.port, token) == 101
    forged = hmac_token({"alg": "HS256"}, {"sub": "tom"}, (folder / "public.pem").read_bytes())
    assert "does not go with the key" in body(program.port, forged)
    client = programs.start(
        *(BIN / "wsclient", f"ws://127.0.0.1:{program.port}/", "--header"),
        *(f"Authorization: Bearer {token}", "--count", "1"),
    )
    assert client.wait() == 0
    assert "Hello from server" in client.stdout.text
