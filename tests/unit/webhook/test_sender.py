from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.webhook.posting import PostOutcome
from wsservice.webhook.queue import BATCH_EVENTS, MOST_EVENTS
from wsservice.webhook.sender import Webhook, check, open_webhook

from ...support import Logged

TAKEN, FAILED = PostOutcome(), PostOutcome("answered 500")


class Receiver:
    """Keeps what is posted, and answers when it is told to."""

    def __init__(self) -> None:
        self.posted: list[tuple[Mapping[str, str], dict[str, Any]]] = []
        self.open: list[Deferred[PostOutcome]] = []
        self.cancelled = 0

    def post(self, body: bytes, headers: Mapping[str, str]) -> Deferred[PostOutcome]:
        self.posted.append((headers, json.loads(body)))

        def cancel(deferred: Deferred[PostOutcome]) -> None:
            self.cancelled += 1
            deferred.callback(PostOutcome("was cancelled: no time was left"))

        answer: Deferred[PostOutcome] = Deferred(cancel)
        self.open.append(answer)
        return answer

    def answer(self, outcome: PostOutcome = TAKEN) -> None:
        self.open.pop(0).callback(outcome)

    @property
    def events(self) -> list[Any]:
        return [event for _, body in self.posted for event in body["events"]]


class Sending:
    def __init__(self, luck: float = 1.0) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.receiver = Receiver()
        self.hook = Webhook(
            "http://hook",
            b"key",
            frozenset({"connect"}),
            self.receiver,
            self.clock,
            lambda: luck,
        )
        self.hook.start()

    def tell(self, *numbers: int) -> None:
        for number in numbers:
            self.hook.tell(b"%d" % number)

    @property
    def posts(self) -> int:
        return len(self.receiver.posted)


@pytest.fixture
def sending() -> Sending:
    return Sending()


def test_events_of_a_second_leave_together(sending: Sending) -> None:
    sending.tell(1, 2)
    sending.clock.advance(0.9)
    sending.tell(3)
    assert sending.posts == 0
    sending.clock.advance(0.1)
    assert sending.receiver.events == [1, 2, 3]
    assert sending.hook.waiting == 3
    sending.receiver.answer()
    assert (sending.hook.waiting, sending.hook.delivered) == (0, 3)
    assert sending.hook.attempts == {"taken": 1, "failed": 0}
    assert sending.clock.getDelayedCalls() == []


def test_a_whole_batch_does_not_wait(sending: Sending) -> None:
    sending.tell(*range(BATCH_EVENTS))
    assert sending.posts == 1


def test_one_batch_at_a_time_and_the_next_is_another(sending: Sending) -> None:
    sending.tell(*range(BATCH_EVENTS + 1))
    sending.clock.advance(5)
    assert sending.posts == 1
    sending.receiver.answer()
    sending.clock.advance(1)
    assert sending.posts == 2
    (first, _), (second, _) = sending.receiver.posted
    assert first["webhook-id"] != second["webhook-id"]
    assert first["webhook-timestamp"] == "1800000000"
    assert first["Content-Type"] == "application/json"


def test_what_is_not_taken_is_sent_again_later_each_time(sending: Sending, logged: Logged) -> None:
    sending.tell(1)
    sending.clock.advance(1)
    waits = []
    for _ in range(8):
        sending.receiver.answer(FAILED)
        before = sending.clock.seconds()
        posts = sending.posts
        for _ in range(200):
            sending.clock.advance(0.5)
            if sending.posts > posts:
                break
        waits.append(sending.clock.seconds() - before)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    ids = {headers["webhook-id"] for headers, _ in sending.receiver.posted}
    bodies = [body for _, body in sending.receiver.posted]
    assert len(ids) == 1
    assert bodies == [bodies[0]] * 9
    sending.receiver.answer()
    assert sending.hook.delivered == 1
    assert logged.text.count("answered 500; retrying") == 1
    assert logged.text.count("works again") == 1
    # It begins anew.
    sending.tell(2)
    sending.clock.advance(1)
    sending.receiver.answer(FAILED)
    sending.clock.advance(1)
    assert sending.posts == 11


def test_luck_shortens_the_wait() -> None:
    sending = Sending(luck=0.25)
    sending.tell(1)
    sending.clock.advance(1)
    sending.receiver.answer(FAILED)
    sending.clock.advance(0.25)
    assert sending.posts == 2


def test_a_receiver_is_left_alone_for_as_long_as_it_asks(sending: Sending) -> None:
    sending.tell(1)
    sending.clock.advance(1)
    sending.receiver.answer(PostOutcome("answered 503", asked=100))
    sending.clock.advance(100)
    assert sending.posts == 1
    sending.clock.advance(1)
    assert sending.posts == 2


def test_a_batch_that_is_never_taken_makes_room_for_the_next(
    sending: Sending, logged: Logged
) -> None:
    sending.tell(1)
    sending.clock.advance(1)
    sending.tell(2)
    for _ in range(100):
        if sending.receiver.events[-1] == 2:
            break
        sending.receiver.answer(FAILED)
        sending.clock.advance(60)
    assert sending.receiver.posted[-1][1] == {
        "service": sending.receiver.posted[0][1]["service"],
        "dropped": 1,
        "events": [2],
    }
    assert 900 <= sending.clock.seconds() - 1_800_000_000 < 1100
    assert "1 events were not taken for 900 s, and are dropped" in logged.text


def test_what_there_is_no_room_for_is_counted_and_said_seldom(
    sending: Sending, logged: Logged
) -> None:
    sending.tell(0)
    sending.clock.advance(1)
    sending.tell(*range(1, MOST_EVENTS + 51))
    assert sending.hook.dropped == 50
    assert sending.hook.waiting == MOST_EVENTS + 1
    for _ in range(3):
        sending.receiver.answer(FAILED)
        sending.clock.advance(60)
    assert logged.text.count("events dropped so far") == 1
    assert "50 events dropped so far" in logged.text


def test_at_the_end_what_waits_is_sent_at_once(sending: Sending) -> None:
    sending.tell(*range(BATCH_EVENTS - 1), 7)
    sending.receiver.answer()
    sending.tell(8)
    stopped = sending.hook.stop(5)
    assert sending.receiver.events[-1] == 8
    sending.receiver.answer()
    sending.clock.advance(0)
    assert stopped.called
    assert sending.clock.getDelayedCalls() == []


def test_at_the_end_with_nothing_to_say_it_is_over(sending: Sending) -> None:
    assert sending.hook.stop(5).called
    assert sending.posts == 0
    sending.tell(1)
    assert (sending.hook.dropped, sending.hook.waiting) == (1, 0)
    assert sending.clock.getDelayedCalls() == []
    sending.hook.start()
    sending.tell(2)
    sending.clock.advance(1)
    assert sending.receiver.events == [2]


def test_at_the_end_it_is_tried_again_while_there_is_time(sending: Sending, logged: Logged) -> None:
    sending.tell(1)
    sending.clock.advance(1)
    for _ in range(6):
        sending.receiver.answer(FAILED)
        sending.clock.advance(60)
    stopped = sending.hook.stop(5)
    sending.receiver.answer(FAILED)
    sending.clock.advance(1)
    assert sending.posts == 8
    sending.receiver.answer()
    sending.clock.advance(0)
    assert stopped.called
    assert sending.hook.dropped == 0


def test_at_the_end_of_its_time_what_is_left_is_dropped_and_said(
    sending: Sending, logged: Logged
) -> None:
    sending.tell(1, 2)
    sending.clock.advance(1)
    sending.tell(3)
    stopped: list[None] = []
    sending.hook.stop(5).addCallback(stopped.append)
    sending.clock.advance(4.9)
    assert stopped == []
    sending.clock.advance(0.1)
    assert stopped == [None]
    assert sending.receiver.cancelled == 1
    assert (sending.hook.dropped, sending.hook.waiting) == (3, 0)
    assert "3 events could not be sent before the end" in logged.text
    assert sending.clock.getDelayedCalls() == []


def test_what_a_configuration_says(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_AAAA\n")
    secret.chmod(0o600)
    config = Config(webhook="https://app.example/very/secret?x", webhook_secret_file=str(secret))
    check(config)
    check(Config())
    made = open_webhook(config, Clock())
    assert made.events == {"connect", "disconnect"}
    assert made._name == "https://app.example"
    secret.write_text("another")
    commit = made.prepare(config)
    assert made._key == b"\0\0\0"
    assert commit() == ["the secret of --webhook"]
    assert made._key == b"another"
    assert made.prepare(config)() == []
    secret.write_text("whsec_A")
    for wrong in (check, lambda config: open_webhook(config, Clock())):
        with pytest.raises(
            ConfigError, match=r"--webhook-secret-file: .* has no valid base64 behind"
        ):
            wrong(config)


class TestUnforeseen:
    """A failure of any kind in here is one more attempt that failed."""

    @pytest.mark.parametrize("at_once", [True, False])
    def test_a_poster_that_raises_is_asked_again(
        self, sending: Sending, at_once: bool, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def post(*_: object) -> Deferred[PostOutcome]:
            if at_once:
                raise UnicodeError("a name\n")
            return fail(UnicodeError("a name\n"))

        with monkeypatch.context() as broken:
            broken.setattr(sending.receiver, "post", post)
            sending.tell(1)
            sending.clock.advance(1)
            assert sending.hook.attempts == {"taken": 0, "failed": 1}
        assert "webhook http://hook: failed: UnicodeError; retrying" in logged.text
        sending.clock.advance(1)
        assert sending.receiver.events == [1]
        sending.receiver.answer()
        assert (sending.hook.waiting, sending.hook.delivered) == (0, 1)

    def test_so_is_one_whose_signature_fails(
        self, sending: Sending, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def headers(*_: object) -> None:
            raise KeyError("ours")

        with monkeypatch.context() as broken:
            broken.setattr("wsservice.client.web.signing.headers", headers)
            sending.tell(1)
            sending.clock.advance(1)
        assert sending.hook.attempts == {"taken": 0, "failed": 1}
        sending.clock.advance(1)
        assert sending.posts == 1
