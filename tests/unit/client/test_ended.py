"""The words for an end. `test_stream` tests the effect of each end."""

from __future__ import annotations

from typing import Any

import pytest

from wsservice.client.ended import why_ended

from ...support import CLOSE, Connecting, close_payload, frame


@pytest.mark.parametrize(
    ("payload", "said", "code", "in_order"),
    [
        (b"", "the server closed", 1005, True),
        (close_payload(1000), "the server closed with 1000", 1000, True),
        (close_payload(1001, b"bye"), "the server closed with 1001 (bye)", 1001, True),
        (close_payload(1008), "the server closed with 1008", 1008, False),
        (close_payload(4000, b"\x1b"), r"the server closed with 4000 (\x1b)", 4000, False),
    ],
)
def test_the_servers_close_frame_says_it(
    payload: bytes, said: str, code: int, in_order: bool
) -> None:
    connecting = Connecting()
    connecting.server.accept().send(frame(CLOSE, payload, masked=False))
    for _ in range(2):
        error = why_ended(connecting.protocol)
        assert (str(error), error.code, error.in_order) == (said, code, in_order)
        connecting.server.lose()


def test_the_answer_to_our_own_close_may_have_no_code() -> None:
    connecting = Connecting()
    server = connecting.server.accept()
    connecting.protocol.sendClose()
    assert why_ended(connecting.protocol).code == 1005
    server.send(frame(CLOSE, masked=False))
    assert str(why_ended(connecting.protocol)) == "the connection was closed"


def test_a_failing_callback_is_the_end(logged: Any) -> None:
    connecting = Connecting()

    def fail(payload: bytes, isBinary: bool) -> None:
        raise ValueError("no")

    connecting.protocol.onMessage = fail
    connecting.server.accept().send(frame(1, b"x", masked=False))
    error = why_ended(connecting.protocol)
    assert (str(error), error.code, error.in_order) == (
        "closed with 1011 (a callback failed)",
        1011,
        False,
    )
