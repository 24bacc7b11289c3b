from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.contract import LONGEST_ID, Credential, Form, User, check_user_id


@pytest.mark.parametrize("id_", ["tom", "a/b*c?", "wąż", "x" * LONGEST_ID, "{user}", " "])
def test_an_id_may_be_any_text_of_a_line(id_: str) -> None:
    assert User(id_).id == id_


@pytest.mark.parametrize(
    "id_",
    [
        *("", 5, None, b"tom", ["tom"]),
        *("a\nb", "a\x00", "\x7f", "\x85", "\u2028", "\ud800"),
        *("x" * (LONGEST_ID + 1), "ą" * (LONGEST_ID // 2 + 1), "x" * 10_000),
    ],
)
def test_any_other_is_refused_with_nothing_of_it_in_the_error(id_: object) -> None:
    with pytest.raises(ValueError, match="the user's id") as raised:
        check_user_id(id_)
    assert "xxx" not in str(raised.value)


@given(st.text(max_size=300))
def test_an_id_that_is_taken_fits_on_a_line_and_into_a_channels_name(id_: str) -> None:
    try:
        check_user_id(id_)
    except ValueError:
        return
    assert len(id_.splitlines()) == 1
    assert 1 <= len(id_.encode()) <= LONGEST_ID


def test_neither_a_credential_nor_a_claim_is_shown() -> None:
    shown = repr(Credential(Form.PASSWORD, "s3cret", "Authorization", "tom"))
    assert "s3cret" not in shown
    assert "tom" not in shown
    assert "s3cret" not in repr(User("tom", {"token": "s3cret"}))
