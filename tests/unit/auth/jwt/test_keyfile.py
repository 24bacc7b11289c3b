from __future__ import annotations

from pathlib import Path

import joserfc  # noqa: F401 - the extra `auth`
import pytest

from wsservice.auth.jwt.keyfile import FileKeys, read_keys
from wsservice.errors import ConfigError

from ....support import Logged
from ....tokens import SECRET, Signer, jwks

SIGNER = Signer("ES256", "one")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_keys(str(path))
    text = str(raised.value)
    assert text.startswith("--auth: ")
    assert text.isprintable()
    return text


@pytest.mark.parametrize(
    "octets",
    [SECRET, SIGNER.private_pem, jwks(SIGNER, Signer("HS256"))],
    ids=["secret", "pem", "jwks"],
)
def test_a_file_of_secrets_is_for_its_owner_alone(file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    for mode in (0o600, 0o400, 0o640, 0o660):
        file.chmod(mode)
        assert len(read_keys(str(file)))
    for mode in (0o604, 0o644, 0o664):
        file.chmod(mode)
        assert "may be read by every user of this machine; chmod 600 it" in refused(file)


@pytest.mark.parametrize("octets", [SIGNER.pem, jwks(SIGNER)], ids=["pem", "jwks"])
def test_a_file_of_public_keys_may_be_read_and_not_written(file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    file.chmod(0o644)
    assert len(read_keys(str(file))) == 1
    file.chmod(0o646)
    assert "may be written by every user of this machine; chmod o-w it" in refused(file)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "is empty"),
        (b"{", "not JSON"),
        (SIGNER.pem[:99], "PEM"),
        (bytes(2**20 + 1), "more than"),
    ],
    ids=["empty", "json", "pem", "large"],
)
def test_a_file_that_cannot_be_used(file: Path, octets: bytes, why: str) -> None:
    file.write_bytes(octets)
    assert why in refused(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read, No such file" in refused(tmp_path / "no\nne")
    assert "cannot be read, Is a directory" in refused(tmp_path)


def test_what_is_weak_or_not_used_is_logged(file: Path, logged: Logged) -> None:
    file.write_bytes(b"hunter2")
    read_keys(str(file))
    assert "a secret has fewer than 32 octets" in logged.text
    file.write_bytes(jwks(SIGNER, {"kty": "XYZ"}))
    read_keys(str(file))
    assert "key 2 of 2 is not used" in logged.text
    assert "hunter2" not in logged.text


def test_a_reload_takes_all_or_nothing(file: Path) -> None:
    changes: list[None] = []
    keys = FileKeys(str(file))
    keys.changed = lambda: changes.append(None)
    before = keys.keys
    assert keys.look_again() is None
    assert keys.prepare()() == []
    file.write_bytes(jwks(SIGNER))
    commit = keys.prepare()
    assert keys.keys is before
    assert commit() == ["the keys of --auth"]
    assert [each.kid for each in keys.keys] == ["one"]
    file.write_bytes(b"{")
    with pytest.raises(ConfigError):
        keys.prepare()
    assert [each.kid for each in keys.keys] == ["one"]
    assert len(changes) == 1
