from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from wsservice.client.web.signing import headers, key_of


def test_a_secret_stands_for_itself_or_is_base64_behind_its_prefix() -> None:
    assert key_of(b"some-secret") == b"some-secret"
    assert key_of(b"whsec_" + base64.b64encode(b"\0\xff")) == b"\0\xff"


def test_a_secret_that_is_no_base64_behind_its_prefix() -> None:
    with pytest.raises(ValueError, match=r"."):
        key_of(b"whsec_!!")


def test_the_name_the_time_and_the_body_are_signed() -> None:
    # The example of the specification of Standard Webhooks.
    made = headers(
        key_of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_another_body_name_or_time_has_another_signature() -> None:
    args = (b"key", "a", 1, b"x")
    others = [(b"kez", "a", 1, b"x"), (b"key", "b", 1, b"x"), (b"key", "a", 2, b"x")]
    others.append((b"key", "a", 1, b"y"))
    signatures = {headers(*each)["webhook-signature"] for each in [args, *others]}
    assert len(signatures) == 5
    digest = hmac.new(b"key", b"a.1.x", hashlib.sha256).digest()
    assert headers(*args)["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
