"""identity.py: the credential of a request is checked before `onConnect`, and may be renewed."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from wsservice.auth import identification as identifying
from wsservice.auth.contract import Authenticator, Credential, Form, Inquiry, User, Verdict
from wsservice.auth.identification import MOST_PENDING, Identification
from wsservice.auth.refusals import away, bad_credential, forbidden
from wsservice.errors import CredentialError
from wsservice.server.behaviours import GreetingServerProtocol, ServerProtocol

from ...support import CLOSE, TEXT, Client, Logged, Served, close_payload

BEARER = "Authorization: Bearer "


class Table(Authenticator):
    """Answers by the text of a credential, or by what a test sets."""

    forms = frozenset({Form.TOKEN, Form.PASSWORD, Form.TICKET})

    def __init__(self) -> None:
        self.asked: list[Credential] = []
        self.requests: list[Inquiry] = []
        self.later: list[Deferred[Verdict]] = []
        self.waits = False
        self.expires: float | None = None
        self.answer: Callable[[Credential], Any] = self.by_text

    def by_text(self, credential: Credential) -> Verdict:
        if credential.text.startswith("good"):
            return User("tom", {"role": "x"}, self.expires)
        if credential.text == "forbidden":
            return forbidden("the user is locked")
        return bad_credential("the token is unknown")

    def check(self, credential: Credential, request: Inquiry) -> Verdict | Awaitable[Verdict]:
        self.asked.append(credential)
        self.requests.append(request)
        if self.waits:
            self.later.append(Deferred())
            return self.later[-1]
        return self.answer(credential)  # type: ignore[no-any-return]


class Noting(GreetingServerProtocol):
    """Keeps its requests, and closes as it is told."""

    requests: list[ConnectionRequest]

    def onConnect(self, request: ConnectionRequest) -> Any:
        type(self).requests.append(request)
        if request.path == "/denied":
            raise ConnectionDeny(403, "no")
        return None

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        return self.renew(payload.decode()).addCallback(
            lambda user: self.sendMessage(f"{user.id} until {user.expires}".encode())
        )


class Guarded(Served):
    """A server that asks for credentials."""

    def __init__(
        self,
        table: Table,
        monkeypatch: pytest.MonkeyPatch,
        protocol: type[ServerProtocol] = Noting,
        **settings: Any,
    ) -> None:
        monkeypatch.setattr(identifying, "open_authenticator", lambda *_: table)
        super().__init__(protocol, **{"auth": ("table:x",), "ping_interval": 0, **settings})
        self.identification = Identification(self.config, self.clock)
        self.factory.identification = self.identification


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture(autouse=True)
def _requests() -> Iterator[None]:
    Noting.requests = []
    yield
    Noting.requests = []


@pytest.fixture
def guarded(table: Table, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    return Guarded(table, monkeypatch)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def opened(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 101 ")


class TestWhereItIs:
    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("/", [BEARER + "good"]),
            ("/", ["Authorization: bearer good"]),
            ("/", ["Sec-WebSocket-Protocol: chat, bearer.good"]),
            ("/", ["Sec-WebSocket-Protocol: bearer.good"]),
            ("/?access_token=good", []),
            ("/?access_token=goo%64&channel=x", []),
            ("/?channel=x&ticket=good", []),
            ("/", ["Authorization: Basic " + base64.b64encode(b"tom:good").decode()]),
        ],
    )
    def test_it_is_found(
        self, guarded: Guarded, table: Table, path: str, headers: list[str]
    ) -> None:
        client = guarded.connect()
        assert opened(client.ask(path, *headers))
        assert client.protocol.user == User("tom", {"role": "x"})
        assert [each.text for each in table.asked] == ["good"]

    def test_none_is_401_with_a_challenge(self, guarded: Guarded, logged: Logged) -> None:
        answer = guarded.connect().ask("/")
        assert status(answer) == 401
        assert b'WWW-Authenticate: Bearer realm="websocket"' in answer
        assert b"WWW-Authenticate: Basic" in answer
        assert logged.text.count("refused with 401: the request has no credential") == 1
        assert guarded.factory.counts.refusals["no credential"] == 1
        assert not Noting.requests

    def test_a_bad_one_is_401_and_says_where_it_was(self, guarded: Guarded, logged: Logged) -> None:
        answer = guarded.connect().ask("/", BEARER + "wrong")
        assert status(answer) == 401
        assert answer.endswith(b"the token is unknown\n")
        assert "the token is unknown; found in the Authorization header" in logged.text
        assert "wrong" not in logged.text
        assert guarded.factory.counts.refusals["bad credential"] == 1

    def test_one_that_may_not_is_403(self, guarded: Guarded) -> None:
        answer = guarded.connect().ask("/", BEARER + "forbidden")
        assert status(answer) == 403
        assert b"WWW-Authenticate" not in answer
        assert guarded.factory.counts.refusals["forbidden"] == 1

    def test_nobody_can_tell(self, guarded: Guarded, table: Table) -> None:
        table.answer = lambda _: away()
        answer = guarded.connect().ask("/", BEARER + "good")
        assert status(answer) == 503
        assert b"Retry-After: 10" in answer
        assert guarded.factory.counts.refusals["auth away"] == 1


class TestWhatIsShown:
    def test_a_bearer_subprotocol_is_never_shown_nor_chosen(
        self, guarded: Guarded, logged: Logged
    ) -> None:
        client = guarded.connect()
        answer = client.ask("/", "Sec-WebSocket-Protocol: bearer.good-secret, chat, other")
        assert b"Sec-WebSocket-Protocol: chat\r\n" in answer
        (request,) = Noting.requests
        assert request.protocols == ["chat", "other"]
        assert "good-secret" not in repr(request.headers) + logged.text
        assert b"good-secret" not in answer
        assert "good-secret" not in repr(client.protocol.http_headers)

    def test_alone_no_subprotocol_is_answered(self, guarded: Guarded) -> None:
        answer = guarded.connect().ask("/", "Sec-WebSocket-Protocol: bearer.good")
        assert opened(answer)
        assert b"Sec-WebSocket-Protocol" not in answer
        assert "sec-websocket-protocol" not in Noting.requests[0].headers

    def test_ours_is_chosen_before_another(self, guarded: Guarded) -> None:
        answer = guarded.connect().ask(
            "/", "Sec-WebSocket-Protocol: chat, wsservice.v1, bearer.good"
        )
        assert b"Sec-WebSocket-Protocol: wsservice.v1\r\n" in answer

    def test_no_other_is_chosen_for_a_credential_elsewhere(self, guarded: Guarded) -> None:
        answer = guarded.connect().ask("/", BEARER + "good", "Sec-WebSocket-Protocol: chat")
        assert b"Sec-WebSocket-Protocol" not in answer

    def test_the_query_loses_it(self, guarded: Guarded) -> None:
        client = guarded.connect()
        assert opened(client.ask("/room?a=1&access_token=good&channel=x"))
        assert Noting.requests[0].params == {"a": ["1"], "channel": ["x"]}
        assert client.protocol.http_request_uri == "/room?a=1&channel=x"
        assert client.protocol.channels == ("room", "x")

    def test_a_header_stays(self, guarded: Guarded) -> None:
        assert opened(guarded.connect().ask("/", BEARER + "good"))
        assert Noting.requests[0].headers["authorization"] == "Bearer good"

    def test_the_authenticator_sees_the_whole_request(self, guarded: Guarded, table: Table) -> None:
        seen: list[Any] = []
        table.answer = lambda _: seen.append(
            (table.requests[-1].target, table.requests[-1].as_autobahn.params)
        )
        guarded.connect().ask("/?access_token=good")
        assert seen == [("/?access_token=good", {"access_token": ["good"]})]
        assert table.requests[0].address == "192.0.2.1"


class TestWithout:
    def test_optional(self, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        server = Guarded(table, monkeypatch, auth_optional=True)
        client = server.connect()
        assert opened(client.ask("/"))
        assert client.protocol.user is None
        assert status(server.connect().ask("/", BEARER + "wrong")) == 401

    def test_a_behaviour_still_decides(self, guarded: Guarded) -> None:
        assert status(guarded.connect().ask("/denied", BEARER + "good")) == 403


class TestLater:
    def begun(self, guarded: Guarded, table: Table) -> Client:
        table.waits = True
        client = guarded.connect()
        assert client.ask("/", BEARER + "good") == b""
        assert client.transport.is_paused()
        assert guarded.identification.pending == 1
        return client

    def test_a_user(self, guarded: Guarded, table: Table) -> None:
        client = self.begun(guarded, table)
        table.later[0].callback(User("ann"))
        assert opened(client.taken())
        assert client.protocol.user.id == "ann"
        assert not client.transport.is_paused()
        assert guarded.identification.pending == 0
        table.waits, table.answer = False, table.by_text
        client.text("good")
        assert client.frames() == [(CLOSE, close_payload(1008, b"the token is another user's"))]

    def test_a_refusal(self, guarded: Guarded, table: Table) -> None:
        client = self.begun(guarded, table)
        table.later[0].callback(bad_credential("no"))
        assert status(client.taken()) == 401
        assert guarded.identification.pending == 0
        assert client.dropped

    @pytest.mark.parametrize("way", ["raises", "fails", "nonsense", "later nonsense"])
    def test_a_fault_is_503_and_logged_without_the_credential(
        self, guarded: Guarded, table: Table, logged: Logged, way: str
    ) -> None:
        def fault(credential: Credential) -> Any:
            if way == "raises":
                raise RuntimeError(f"about {credential.text}")
            return {"id": "tom"}

        table.answer, table.waits = fault, way in ("fails", "later nonsense")
        client = guarded.connect()
        answer = client.ask("/", BEARER + "good-secret")
        if way == "fails":
            table.later[0].errback(RuntimeError("about good-secret"))
        elif way == "later nonsense":
            table.later[0].callback(5)  # type: ignore[arg-type]
        assert status(answer or client.taken()) == 503
        assert len(logged.failures) == 1
        assert "good-secret" not in logged.text + "".join(logged.failures)
        assert guarded.factory.counts.refusals["auth away"] == 1

    def test_too_late(self, guarded: Guarded, table: Table) -> None:
        client = self.begun(guarded, table)
        guarded.clock.advance(guarded.config.handshake_timeout)
        assert status(client.taken()) == 503
        assert guarded.identification.pending == 0
        assert table.later[0].called  # it was cancelled

    def test_too_late_where_the_handshake_has_no_limit(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Guarded(table, monkeypatch, handshake_timeout=0)
        client = self.begun(server, table)
        server.clock.advance(11)
        assert status(client.taken()) == 503

    def test_a_late_answer_is_dropped(self, guarded: Guarded, table: Table) -> None:
        late: Deferred[Verdict] = Deferred(lambda _: None)
        table.answer = lambda _: late
        client = guarded.connect()
        client.ask("/", BEARER + "good")
        guarded.clock.advance(guarded.config.handshake_timeout)
        assert status(client.taken()) == 503
        if not late.called:
            late.callback(User("tom"))
        assert client.taken() == b""
        assert client.protocol.user is None

    def test_the_connection_is_lost(self, guarded: Guarded, table: Table, logged: Logged) -> None:
        client = self.begun(guarded, table)
        client.lose(ConnectionLost())
        assert guarded.identification.pending == 0
        assert not Noting.requests
        assert not logged.failures

    def test_the_service_stops(self, guarded: Guarded, table: Table) -> None:
        client = self.begun(guarded, table)
        client.protocol.go_away()
        assert status(client.taken()) == 503
        table.later[0].callback(User("tom"))
        assert client.taken() == b""
        assert not Noting.requests

    def test_onconnect_is_contained(
        self, table: Table, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        class Wrong(ServerProtocol):
            def onConnect(self, request: ConnectionRequest) -> Any:
                self.channel = "x" * 300

        server = Guarded(table, monkeypatch, Wrong)
        client = self.begun(server, table)
        table.later[0].callback(User("tom"))
        assert status(client.taken()) == 500
        assert len(logged.failures) == 1

    def test_so_many_at_once(self, guarded: Guarded, table: Table) -> None:
        guarded.identification.pending = MOST_PENDING
        assert status(guarded.connect().ask("/", BEARER + "good")) == 503
        assert not table.asked


class TestThrottle:
    def test_an_address_is_slowed_down(self, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        server = Guarded(table, monkeypatch, auth_failures=3)
        answers = [status(server.connect().ask("/", BEARER + "wrong")) for _ in range(5)]
        assert answers == [401, 401, 401, 429, 429]
        answer = server.connect().ask("/", BEARER + "good")
        assert status(answer) == 429
        assert b"Retry-After: 5\r\n" in answer
        assert len(table.asked) == 3
        server.clock.advance(5)
        assert opened(server.connect().ask("/", BEARER + "good"))
        assert server.factory.counts.refusals["too many failures"] == 3

    def test_no_credential_and_an_expired_one_are_no_failures(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Guarded(table, monkeypatch, auth_failures=1)
        table.expires = 0.0
        for _ in range(3):
            assert status(server.connect().ask("/")) == 401
            assert status(server.connect().ask("/", BEARER + "good")) == 401
        assert server.factory.counts.refusals["expired credential"] == 3


class TestExpiry:
    def opened(self, guarded: Guarded, table: Table, expires: float | None) -> Client:
        table.expires = expires
        client = guarded.connect()
        assert opened(client.ask("/", BEARER + "good"))
        return client

    def test_it_closes(self, guarded: Guarded, table: Table, logged: Logged) -> None:
        client = self.opened(guarded, table, 3000.0)
        guarded.clock.pump([20] * 149)
        assert client.frames() == []
        guarded.clock.advance(20.0)
        assert client.frames() == [(CLOSE, close_payload(1008, b"expired"))]
        assert "closed with 1008: expired" in logged.text

    def test_no_timer_without_an_end(self, guarded: Guarded, table: Table) -> None:
        client = self.opened(guarded, table, None)
        assert client.protocol._identified._expiry is None

    def test_it_is_renewed(self, guarded: Guarded, table: Table) -> None:
        client = self.opened(guarded, table, 15.0)
        table.expires = 18.0
        client.text("good again")
        client.text("good-again")
        frames = client.frames()
        assert frames[0][0] == CLOSE  # a token has no space
        client = self.opened(guarded, table, 15.0)
        table.expires = 18.0
        client.text("good-again")
        assert client.frames() == [(TEXT, b"tom until 18.0")]
        guarded.clock.advance(16)
        assert client.frames() == []
        guarded.clock.advance(2)
        assert client.frames() == [(CLOSE, close_payload(1008, b"expired"))]

    def test_a_lost_connection_has_no_timer(self, guarded: Guarded, table: Table) -> None:
        client = self.opened(guarded, table, 15.0)
        client.lose()
        assert client.protocol._identified is None
        assert not guarded.clock.getDelayedCalls()


class TestRenewal:
    def test_a_bad_token_closes_only_if_the_behaviour_lets_it(
        self, guarded: Guarded, table: Table, logged: Logged
    ) -> None:
        client = guarded.connect()
        assert opened(client.ask("/", BEARER + "good"))
        failed: list[Any] = []
        client.protocol.renew("wrong").addErrback(failed.append)
        assert failed[0].check(CredentialError)
        assert (failed[0].getErrorMessage(), failed[0].value.status) == (
            "the token is unknown",
            401,
        )
        assert client.frames() == []
        assert logged.text.count("renewal refused: the token is unknown") == 1
        client.text("wrong")
        assert client.frames() == [(CLOSE, close_payload(1008, b"the token is unknown"))]
        assert not logged.failures

    def test_one_at_a_time_and_lost_meanwhile(
        self, guarded: Guarded, table: Table, logged: Logged
    ) -> None:
        client = guarded.connect()
        assert opened(client.ask("/", BEARER + "good"))
        table.waits = True
        failed: list[Any] = []
        for _ in range(2):
            client.protocol.renew("good").addErrback(failed.append)
        assert [each.getErrorMessage() for each in failed] == ["another renewal is under way"]
        client.lose()
        assert len(failed) == 2
        assert guarded.identification.pending == 0
        assert not logged.failures

    def test_lost_where_the_behaviour_lets_it_fail(
        self, guarded: Guarded, table: Table, logged: Logged
    ) -> None:
        client = guarded.connect()
        assert opened(client.ask("/", BEARER + "good"))
        table.waits = True
        client.text("good again")
        client.lose(ConnectionLost())
        # Any client could fill the log with tracebacks.
        assert not logged.failures
        assert "renewal refused" not in logged.text

    def test_nobody_renews_without_a_user(
        self, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Guarded(table, monkeypatch, auth_optional=True)
        client = server.connect()
        client.ask("/")
        failed: list[Any] = []
        client.protocol.renew("good").addErrback(failed.append)
        assert failed[0].check(CredentialError)
