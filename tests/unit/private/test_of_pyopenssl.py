from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL

from wsservice.private import of_pyopenssl
from wsservice.private.of_pyopenssl import Records, verify_result


@pytest.fixture
def connection() -> SSL.Connection:
    return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)


def test_this_pyopenssl_has_the_names(connection: SSL.Connection) -> None:
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    records = Records(connection)
    assert records.to_send()[:1] == b"\x16"  # a handshake (RFC 8446, 5.1)
    assert records.to_send() == b""


def test_octets_that_are_no_record_are_an_error_of_tls(connection: SSL.Connection) -> None:
    connection.set_accept_state()
    records = Records(connection)
    assert records.read() == b""
    records.received(b"GET / HTTP/1.1\r\n")
    with pytest.raises(SSL.Error):
        records.read()


@pytest.mark.parametrize("gone", [object(), None])
def test_with_another_pyopenssl_there_are_no_records(
    connection: SSL.Connection, monkeypatch: pytest.MonkeyPatch, gone: Any
) -> None:
    if gone is None:
        monkeypatch.setattr(of_pyopenssl, "_lib", None)
    with pytest.raises(AttributeError):
        Records(connection if gone is None else gone)


def test_a_reason_for_no_trust_is_in_words(connection: SSL.Connection) -> None:
    assert verify_result(connection) == "ok"


def test_without_those_names_it_is_unknown(
    connection: SSL.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verify_result(None) == ""
    monkeypatch.setattr(of_pyopenssl, "_lib", None)
    assert verify_result(connection) == ""
