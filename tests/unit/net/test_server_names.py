"""server_names.py: the certificate for the name that a client asks for, whatever it asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from wsservice.net.server_names import ServerNames, names_of, title_of

from ...certificates import Authority

CN = x509.NameOID.COMMON_NAME
NAMES = ServerNames(
    [
        (["a.example", "*.b.example", "xn--bcher-kva.example"], "first"),
        (["www.b.example", "a.example", "*.c.example", "c.example"], "second"),
        (["*.b.example", "*"], "third"),
    ]
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (b"a.example", "first"),
        (b"A.EXAMPLE.", "first"),
        (b"x.b.example", "first"),
        (b"www.b.example", "second"),
        (b"WWW.B.example", "second"),
        (b"c.example", "second"),
        (b"x.c.example", "second"),
        (b"xn--bcher-kva.example", "first"),
        (b"b.example", None),
        (b".b.example", None),
        (b"x.y.b.example", None),
        (b"*.b.example", "first"),
        (b"other.example", None),
        (b"", None),
        (b".", None),
        (b"b\xc3\xbccher.example", None),
        (b"a.example\0", None),
        (b"a.example..", None),
        (b"x" * 250 + b".b.example", None),
        (None, None),
    ],
)
def test_the_first_with_the_name(asked: bytes | None, found: str | None) -> None:
    assert NAMES.find(asked) == found


@given(st.binary(max_size=300))
def test_whatever_a_client_asks(asked: bytes) -> None:
    assert NAMES.find(asked) in (None, "first", "second", "third")


def certificate(tmp_path: Path, subject: str | None, *names: x509.GeneralName) -> x509.Certificate:
    parts = [] if subject is None else [x509.NameAttribute(CN, subject)]
    _, file = Authority(tmp_path).signed("it", x509.Name(parts), list(names))
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_the_names_are_those_of_the_san(tmp_path: Path) -> None:
    names = [x509.DNSName("A.example"), x509.RFC822Name("a@b"), x509.DNSName("*.B.example.")]
    found = certificate(tmp_path, "cn.example", *names)
    assert names_of(found) == ["a.example", "*.b.example"]
    assert title_of(found) == "a.example"


def test_the_common_name_counts_without_a_san_only(tmp_path: Path) -> None:
    assert names_of(certificate(tmp_path, "CN.example")) == ["cn.example"]
    other = certificate(tmp_path, "CN.example", x509.RFC822Name("a@b"))
    assert names_of(other) == []
    assert title_of(other) == "CN.example"
    nobody = certificate(tmp_path, None, x509.RFC822Name("a@b"))
    assert names_of(nobody) == []
    assert title_of(nobody) == ""
    long = certificate(tmp_path, "x", x509.DNSName("x" * 100))
    assert title_of(long) == "x" * 80
