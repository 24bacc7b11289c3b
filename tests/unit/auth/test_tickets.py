from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.kinds import open_authenticator
from wsservice.auth.tickets import (
    LASTS,
    LocalTickets,
    TicketAuthenticator,
    content_of,
    digest_of,
    new_ticket,
    open_tickets,
    user_of,
)
from wsservice.config.config import Config
from wsservice.errors import ConfigError, TicketsError
from wsservice.http.refusal import Refusal

from ...examples import examples

TOM = User("tom", {"role": "editor"}, 2e9)


def result(deferred: Deferred[Any]) -> Any:
    """Return the result of a Deferred that has fired; a failure's exception."""
    outcome: list[Any] = []
    deferred.addErrback(lambda failure: failure.value).addCallback(outcome.append)
    (done,) = outcome
    return done


class TestText:
    def test_it_cannot_be_guessed(self) -> None:
        tickets = {new_ticket() for _ in range(1000)}
        assert len(tickets) == 1000
        # 32 characters of 6 bits: 192 bits.
        assert all(re.fullmatch("[A-Za-z0-9_-]{32}", each) for each in tickets)

    def test_a_digest_tells_nothing_of_it(self) -> None:
        ticket = new_ticket()
        digest = digest_of(ticket)
        assert digest is not None
        assert re.fullmatch("[0-9a-f]{64}", digest)
        assert digest == digest_of(ticket)
        assert ticket not in digest

    @pytest.mark.parametrize(
        "text",
        ["", "x", "x" * 31, "x" * 33, "x" * 10_000, "x" * 31 + "=", "\u0661" * 32, "x\n" * 16],
    )
    def test_other_text_has_none(self, text: str) -> None:
        assert digest_of(text) is None


class TestContent:
    def test_it_comes_back(self) -> None:
        assert user_of(content_of(TOM)) == TOM
        assert user_of(content_of(User("j\u00f6rg/*"))) == User("j\u00f6rg/*")

    @examples(200)
    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda each: (
                    st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each)
                ),
                max_leaves=5,
            ),
            max_size=4,
        )
    )
    def test_any_claims_do(self, claims: Any) -> None:
        assert user_of(content_of(User("tom", claims))).claims == claims

    @pytest.mark.parametrize("claims", [{"a": float("nan")}, {"a": b"x"}, {"a": {1, 2}}])
    def test_claims_that_are_no_json(self, claims: Any) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's matter
            content_of(User("tom", claims))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b'{"user": "tom"}',
            b'{"user": "", "claims": {}, "expires": null}',
            b'{"user": 1, "claims": {}, "expires": null}',
            b'{"user": "tom", "claims": [], "expires": null}',
            b'{"user": "tom", "claims": {}, "expires": "now"}',
            b'{"user": "tom", "claims": {}, "expires": true}',
            b"[" * 100_000,
        ],
    )
    def test_one_that_is_none(self, content: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's matter
            user_of(content)


class TestLocal:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def tickets(self, clock: Clock) -> LocalTickets:
        return LocalTickets(clock.seconds, most=3, most_bytes=100)

    def test_each_is_claimed_once(self, tickets: LocalTickets) -> None:
        assert result(tickets.put("a", b"tom")) is None
        assert result(tickets.put("b", b"eve")) is None
        assert [result(tickets.claim("a")) for _ in range(2)] == [b"tom", None]
        assert result(tickets.claim("b")) == b"eve"
        assert result(tickets.claim("c")) is None

    def test_it_ends_after_its_time(self, tickets: LocalTickets, clock: Clock) -> None:
        tickets.put("a", b"tom")
        clock.advance(1)
        tickets.put("b", b"eve")
        clock.advance(LASTS - 1)
        assert result(tickets.claim("a")) is None
        assert len(tickets) == 1
        assert result(tickets.claim("b")) == b"eve"

    def test_there_is_room_for_so_many(self, tickets: LocalTickets, clock: Clock) -> None:
        for name in "abc":
            assert result(tickets.put(name, b"tom")) is None
        refused = result(tickets.put("d", b"tom"))
        assert isinstance(refused, TicketsError)
        assert result(tickets.claim("d")) is None
        assert result(tickets.claim("a")) == b"tom"
        assert result(tickets.put("d", b"tom")) is None
        assert isinstance(result(tickets.put("e", b"tom")), TicketsError)
        clock.advance(LASTS)
        assert result(tickets.put("e", b"tom")) is None
        assert len(tickets) == 1

    def test_and_for_so_much(self, tickets: LocalTickets) -> None:
        assert result(tickets.put("a", bytes(90))) is None
        assert isinstance(result(tickets.put("b", bytes(11))), TicketsError)
        assert result(tickets.claim("a")) == bytes(90)
        assert result(tickets.put("b", bytes(100))) is None


class TestAuthenticator:
    def checked(self, claims: Any, text: str) -> Any:
        credential = Credential(Form.TICKET, text, "?ticket=")
        inquiry: Any = None
        verdict = TicketAuthenticator(claims).check(credential, inquiry)
        return result(verdict) if isinstance(verdict, Deferred) else verdict

    def kept(self, ticket: str, content: bytes) -> LocalTickets:
        store = LocalTickets(Clock().seconds)
        store.put(digest_of(ticket) or "", content)
        return store

    def test_a_ticket_names_its_user_once(self) -> None:
        ticket = new_ticket()
        store = self.kept(ticket, content_of(TOM))
        assert self.checked(store, ticket) == TOM
        again = self.checked(store, ticket)
        assert isinstance(again, Refusal)
        assert (again.status, again.problem) == (401, "the ticket is unknown")
        assert ticket not in repr(again)

    def test_text_that_is_no_ticket_claims_none(self) -> None:
        refusal = self.checked(object(), "x" * 8192)
        assert (refusal.status, refusal.problem) == (401, "the ticket is malformed")

    def test_it_fails_closed(self) -> None:
        class Away:
            def claim(self, _digest: str) -> Deferred[bytes | None]:
                return fail(TicketsError("broker redis://x: connection refused"))

        refusal = self.checked(Away(), new_ticket())
        assert (refusal.status, refusal.problem) == (503, "tickets cannot be checked now")
        assert "connection refused" in refusal.for_operator
        ticket = new_ticket()
        assert self.checked(self.kept(ticket, b'{"user": 1}'), ticket).status == 503
        assert self.checked(None, ticket).status == 503


class TestOpen:
    def test_its_kind(self) -> None:
        config = Config(auth=("tickets",), admin="unix:x")
        opened = open_authenticator("tickets", config, None)
        assert opened.forms == {Form.TICKET}

    def test_it_takes_no_value(self) -> None:
        with pytest.raises(ConfigError, match="--auth: a value is not allowed behind 'tickets'"):
            open_tickets("x", Config(admin="unix:x"), None)

    def test_somebody_must_be_able_to_make_them(self) -> None:
        with pytest.raises(ConfigError, match="not allowed without --admin, where they are made"):
            open_tickets("", Config(), None)
        open_tickets("", Config(broker=("redis://x",)), None)


def test_a_store_has_no_tickets() -> None:
    ticket = new_ticket()
    store = LocalTickets(Clock().seconds)
    store.put(digest_of(ticket) or "", content_of(TOM))
    assert ticket not in json.dumps(str(vars(store)))
