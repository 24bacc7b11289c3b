from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.admin.queries import WrongError
from wsservice.admin.ticketing import Ticketing, user_in
from wsservice.auth.contract import User
from wsservice.auth.tickets import LocalTickets, digest_of, user_of


class Made:
    """A store with room for two tickets, and what makes them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = LocalTickets(self.clock.seconds, most=2)
        self.ticketing = Ticketing(self.store, self.clock.seconds)
        self.ticketing.is_on = True

    def make(self, body: bytes) -> tuple[int, Any]:
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.ticketing.make(body)).addBoth(outcome.append)
        (answer,) = outcome
        if not hasattr(answer, "status"):
            raise answer.value
        self.headers = dict(answer.headers)
        return answer.status, json.loads(answer.body)

    def claimed(self, ticket: str) -> User | None:
        content: Any = self.store.claim(digest_of(ticket) or "").result
        return None if content is None else user_of(content)


@pytest.fixture
def made() -> Made:
    return Made()


def test_a_ticket_stands_for_its_user(made: Made) -> None:
    status, said = made.make(b'{"user": "tom", "claims": {"role": "editor", "exp": 1001}}')
    assert (status, said.keys(), said["expires"]) == (201, {"ticket", "expires"}, 30)
    assert made.headers["Cache-Control"] == "no-store"
    assert made.claimed(said["ticket"]) == User("tom", {"role": "editor", "exp": 1001}, 1001)
    assert made.claimed(said["ticket"]) is None


def test_claims_may_be_left_out(made: Made) -> None:
    _, said = made.make('{"user": "j\u00f6rg"}'.encode())
    assert made.claimed(said["ticket"]) == User("j\u00f6rg")


def test_a_full_store_is_said_and_counted(made: Made) -> None:
    assert [made.make(b'{"user": "tom"}')[0] for _ in range(3)] == [201, 201, 503]
    assert made.headers["Retry-After"] == "1"
    samples = [each for family in made.ticketing.collect() for each in family.samples]
    counts = {each.name: each.value for each in samples if each.name.endswith("_total")}
    assert counts == {"wsservice_tickets_made_total": 2, "wsservice_tickets_failed_total": 1}


def test_without_auth_nobody_takes_them(made: Made) -> None:
    made.ticketing.is_on = False
    assert made.make(b'{"user": "tom"}')[0] == 404


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[]", "the body is not an object with the member user"),
        (b"{}", "the body is not an object with the member user"),
        (b'{"user": "tom", "ttl": 9}', "the body is not an object with the member user"),
        (b'{"user": "tom", "claims": []}', "claims is not an object"),
        (b'{"user": "tom", "claims": null}', "claims is not an object"),
        (b'{"user": 7}', "the user's id is not text"),
        (b'{"user": ""}', "the user's id is empty"),
        (b'{"user": "a\\nb"}', "the user's id has a control character"),
        (b'{"user": "\\ud800"}', "the user's id is not text"),
        (json.dumps({"user": "x" * 256}).encode(), "the user's id has more than 255 octets"),
        (b'{"user": "tom", "claims": {"a": NaN}}', "the body has a number that JSON does not have"),
        (b'{"user": "tom", "claims": {"exp": "1"}}', "is not a number"),
        (b'{"user": "tom", "claims": {"exp": true}}', "is not a number"),
        (b'{"user": "tom", "claims": {"exp": 1e999}}', "is not finite"),
        (b'{"user": "tom", "claims": {"exp": 1000}}', "the claim exp is in the past"),
        # Nested too deeply, or not JSON: Python 3.14 reads deeper.
        (b'{"user": "tom", "claims": {"a": ' + b"[" * 4000, "the body is "),
    ],
)
def test_a_body_that_is_wrong(made: Made, body: bytes, problem: str) -> None:
    with pytest.raises(WrongError) as caught:
        made.make(body)
    assert problem in str(caught.value)
    assert 'give such as {"user": "tom"}' in str(caught.value)
    assert len(made.store) == 0


def test_claims_that_are_nested_are_kept_or_refused() -> None:
    for depth in (10, 100, 500, 990, 1000, 1900):
        body = b'{"user": "tom", "claims": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
        try:
            user = user_in(body)
        except WrongError:
            continue
        assert user.id == "tom"
