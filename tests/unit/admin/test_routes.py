from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail

from wsservice.admin.access import OPEN_TO_ALL, Access
from wsservice.admin.actions import ActionFigures
from wsservice.admin.exchange import AdminRequest, Answer, Stream
from wsservice.admin.figures import Figures
from wsservice.admin.publishing import Publishing
from wsservice.admin.routes import Open, Route, Routes
from wsservice.admin.tokens import AdminTokens, Right
from wsservice.channels.history import History
from wsservice.channels.hub import LocalHub
from wsservice.directory.ids import TEXT as IDS
from wsservice.directory.listing import Closing, Wanted
from wsservice.directory.outcomes import SendOutcome, UnansweredError, Unreached
from wsservice.directory.people import LocalPeople
from wsservice.directory.tracing import MOST_TRACES, Trace, Traces
from wsservice.errors import HistoryAwayError
from wsservice.server.behaviours import EchoServerProtocol

from ...support import CLOSE, TEXT, Logged, Served, close_payload
from .test_figures import Source

HERE = IPv4Address("TCP", "127.0.0.1", 8081)


class Face:
    """The routes of a server in memory."""

    def __init__(self, token: bytes | None = None) -> None:
        self.served = Served(EchoServerProtocol)
        self.reasons: list[str] = []
        self.traces = Traces(self.served.clock)
        self.routes = Routes(
            Access(None if token is None else AdminTokens.bare(token)),
            LocalPeople(lambda: self.served.hub, self.served.hub, self.traces),
            lambda: self.reasons,
            Figures(Source(self.served), self.served.clock),
            Publishing(
                self.served.hub.deliver, self.served.factory.gathering.together, self.served.clock
            ),
            100_000,
        )

    def ask(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Any:
        given = {"host": ("localhost",), **{name: (each,) for name, each in headers.items()}}
        asked = AdminRequest(method, target, given, body, HERE)
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.routes.respond(asked)).addCallback(outcome.append)
        return outcome[0]

    def say(self, target: str, method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
        answer = self.ask(target, method, body)
        assert isinstance(answer, Answer)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def face() -> Face:
    return Face()


def test_the_page_needs_no_token(face: Face) -> None:
    answer = Face(b"token").ask("/")
    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_health_and_readiness(face: Face) -> None:
    assert face.say("/healthz") == (200, {"alive": True})
    assert face.say("/readyz?x=1") == (200, {"ready": True, "reasons": []})
    face.reasons = ["draining", "no room"]
    assert face.say("/readyz") == (503, {"ready": False, "reasons": ["draining", "no room"]})
    assert face.say("/healthz")[0] == 200


def test_metrics(face: Face) -> None:
    answer = face.ask("/metrics")
    headers = dict(answer.headers)
    assert headers["Content-Type"].startswith("text/plain; version=")
    names = {each.name for each in text_string_to_metric_families(answer.body.decode())}
    assert {"wsservice_connections", "wsservice_messages"} <= names


def test_the_list(face: Face) -> None:
    for _ in range(3):
        face.served.connect().open()
    status, said = face.say("/connections?limit=2&after=1")
    assert status == 200
    assert [each["id"] for each in said["connections"]] == ["2", "3"]
    status, said = face.say("/connections?limit=x")
    assert (status, list(said)) == (400, ["error"])


def test_closing_one(face: Face) -> None:
    client, other = face.served.connect().open(), face.served.connect().open()
    body = b'{"code": 4001, "reason": "enough"}'
    assert face.say("/connections/1/close", "POST", body) == (202, {"closing": "1"})
    assert client.frames() == [(CLOSE, close_payload(4001, b"enough"))]
    assert other.taken() == b""
    assert face.say("/connections/1/close", "POST") == (202, {"closing": "1"})
    assert client.taken() == b""
    client.close(4001)
    client.lose()
    there_is_none = (404, {"error": "there is no connection 1"})
    assert face.say("/connections/1/close", "POST") == there_is_none


def test_closing_one_that_shakes_hands(face: Face) -> None:
    client = face.served.connect()
    assert face.say("/connections/1/close", "POST")[0] == 202
    assert client.taken().startswith(b"HTTP/1.1 503 ")


class Cluster:
    """Nodes, of which one does not answer."""

    def __init__(self) -> None:
        self.people: Any = self
        self.asked: list[Any] = []

    async def facts(self) -> dict[str, Any]:
        return {"nodes": ["a", "b"]}

    async def listed(self, wanted: Wanted) -> dict[str, Any]:
        self.asked.append(wanted)
        return {"missing": ["b"]}

    async def members(self, channel: str, wanted: Wanted) -> dict[str, Any]:
        self.asked.append((channel, wanted))
        return {"missing": ["b"]}

    async def close(self, id_: str, closing: Closing) -> bool:
        raise UnansweredError(Unreached.UNKNOWN, f"nobody knows of {id_}")

    async def send(self, id_: str, payload: bytes, is_binary: bool) -> SendOutcome:
        outcomes = {"b.1": SendOutcome.HANDED, "b.2": SendOutcome.CLOSING}
        return outcomes.get(id_, SendOutcome.GONE)


class TestCluster:
    def test_alone_there_is_none(self, face: Face) -> None:
        expected = {"error": "there are no other nodes without --broker"}
        assert face.say("/cluster") == (404, expected)
        gone = (404, {"error": "there is no connection a.1"})
        face.served.connect().open()
        assert face.say("/connections/a.1/close", "POST") == gone
        assert face.say("/connections/a.1/send", "POST", b"hi") == gone

    def test_all_nodes(self, face: Face) -> None:
        cluster = Cluster()
        face.routes.join(cluster)
        assert face.say("/cluster") == (200, {"nodes": ["a", "b"]})
        assert face.say("/cluster", "POST")[0] == 405
        assert face.say("/connections?after=b.7") == (200, {"missing": ["b"]})
        assert face.say("/channels/x?after=b.7&limit=2") == (200, {"missing": ["b"]})
        assert cluster.asked == [Wanted(100, 7, "b"), ("x", Wanted(2, 7, "b"))]

    def test_one_connection_of_another(self, face: Face) -> None:
        face.routes.join(Cluster())
        unanswered = (504, {"error": "nobody knows of b.1"})
        assert face.say("/connections/b.1/close", "POST") == unanswered
        handed = (200, {"handed": 1, "dropped": 0})
        assert face.say("/connections/b.1/send", "POST", b"hi") == handed
        closing = (409, {"error": "connection b.2 is closing"})
        assert face.say("/connections/b.2/send", "POST", b"hi") == closing
        gone = (404, {"error": "there is no connection b.3"})
        assert face.say("/connections/b.3/send", "POST", b"hi") == gone


def test_closing_with_what_cannot_be_sent(face: Face) -> None:
    client = face.served.connect().open()
    status, said = face.say("/connections/1/close", "POST", b'{"code": 1006}')
    assert status == 400
    assert "give 1000 to 1003, 1007" in said["error"]
    assert client.taken() == b""


def test_a_trace(face: Face) -> None:
    face.served.connect().open()
    answer = face.ask("/connections/1/trace")
    assert isinstance(answer, Stream)
    assert isinstance(answer.source, Trace)
    assert dict(answer.headers)["Content-Type"] == "text/event-stream"
    for _ in range(MOST_TRACES - 1):
        face.ask("/connections/1/trace")
    status, said = face.say("/connections/1/trace")
    assert status == 503
    assert f"{MOST_TRACES} traces" in said["error"]
    face.served.connect()
    assert face.say("/connections/2/trace")[0] == 409
    assert face.say("/connections/3/trace")[0] == 404


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/", "POST", "GET, HEAD"),
        ("/healthz", "OPTIONS", "GET, HEAD"),
        ("/metrics", "DELETE", "GET, HEAD"),
        ("/connections", "PUT", "GET, HEAD"),
        ("/connections/1/close", "GET", "POST"),
        ("/connections/1/trace", "HEAD", "GET"),
        ("/connections/1/trace", "POST", "GET"),
    ],
)
def test_other_methods(face: Face, target: str, method: str, allowed: str) -> None:
    answer = face.ask(target, method)
    assert answer.status == 405
    assert ("Allow", allowed) in answer.headers


@pytest.mark.parametrize(
    "target",
    [
        "//",
        "/x",
        "/healthz/",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/connections/",
        "/connections/1",
        "/connections//close",
        "/connections/1%00/close",
        "/connections/%31/close",
        "/connections/../1/close",
        "/connections/-1/close",
        "/connections/\u0661/close",
        "/connections/" + "1" * 21 + "/close",
        "/connections/1/close/",
        "/connections/a.b.1/close",
        "/connections/.1/close",
        "/metrics;x",
        "/%00",
    ],
)
def test_there_is_nothing_else(face: Face, target: str) -> None:
    face.served.connect().open()
    for method in ("GET", "POST"):
        assert face.say(target, method) == (
            404,
            {"error": "there is no such path"},
        )


@pytest.mark.parametrize("target", ["http://localhost", "http://LOCALHOST:80/", "ws://localhost/"])
def test_an_absolute_target_is_a_path(face: Face, target: str) -> None:
    if target.startswith("ws:"):
        assert face.say("ws://localhost/healthz") == (200, {"alive": True})
    assert face.ask(target).body == face.ask("/").body


@pytest.mark.parametrize(
    "target",
    [
        *("http://evil.example/healthz", "http://localhost:81/healthz", "https://localhost:1/"),
        *("ftp://localhost/", "http://me@localhost/", "*", "healthz", "", "http:///healthz"),
    ],
)
def test_a_target_that_is_no_path(face: Face, target: str) -> None:
    assert face.say(target)[0] == 400


def test_whoever_may_not_ask_learns_nothing() -> None:
    face = Face(b"token")
    for target in ("/connections", "/nothing", "/connections/1/close"):
        assert face.say(target)[0] == 401
    assert face.ask("/connections", authorization="Bearer token").status == 200
    assert face.ask("/connections", authorization="Bearer token", host="evil.example").status == 421


def test_no_other_page_may_have_an_answer_as_its_own(face: Face) -> None:
    for target in ("/", "/healthz", "/metrics", "/connections", "/nothing"):
        headers = dict(face.ask(target).headers)
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert not any("allow-origin" in name.lower() for name in headers)


class TestMessages:
    def test_publishing(self, face: Face) -> None:
        client = face.served.connect().open("/news")
        assert face.say("/publish/news/", "POST", b"hello") == (200, {"handed": 1, "dropped": 0})
        assert client.frames() == [(TEXT, b"hello")]
        status, said = face.say("/publish/news", "POST", b"\xff")
        assert (status, said["error"].startswith("the body is not UTF-8")) == (400, True)

    def test_publishing_many(self, face: Face) -> None:
        client = face.served.connect().open("/news")
        body = b'{"channel": "news", "data": "1"}\n{"channel": "b", "data": "2"}'
        assert face.say("/publish", "POST", body) == (
            200,
            {"messages": 2, "handed": 1, "dropped": 0},
        )
        assert client.frames() == [(TEXT, b"1")]
        status, said = face.say("/publish", "POST", b"{}")
        assert (status, said["error"].startswith("line 1: ")) == (400, True)

    def test_sending_to_one(self, face: Face) -> None:
        client, _ = face.served.connect().open("/a"), face.served.connect()
        assert face.say("/connections/1/send", "POST", b"you") == (
            200,
            {"handed": 1, "dropped": 0},
        )
        assert client.frames() == [(TEXT, b"you")]
        assert face.say("/connections/2/send", "POST", b"x")[0] == 409
        client.protocol.go_away()
        assert face.say("/connections/1/send", "POST", b"x") == (
            409,
            {"error": "connection 1 is closing"},
        )
        assert face.say("/connections/9/send", "POST", b"x")[0] == 404

    def test_channels(self, face: Face) -> None:
        for path in ("/a%20b", "/a%20b/", "/"):
            face.served.connect().open(path)
        assert face.say("/channels")[1]["channels"] == [
            {"channel": "", "connections": 1},
            {"channel": "a b", "connections": 2},
        ]
        assert face.say("/channels/a%20b")[1]["total"] == 2
        assert face.say("/channels/")[1]["total"] == 1
        assert face.say("/channels?limit=x")[0] == 400
        assert face.say("/channels/" + "a" * 256)[0] == 400
        assert face.say("/publish/" + "a" * 256, "POST", b"x")[0] == 400

    @pytest.mark.parametrize("target", ["/publish", "/publish/a", "/connections/1/send"])
    def test_a_message_may_be_large_for_those_who_may_publish(self, target: str) -> None:
        def room(face: Face, target: str, **headers: tuple[str, ...]) -> int | Answer:
            given = {"host": ("localhost",), **headers}
            return face.routes.room_for(AdminRequest("POST", target, given, b"", HERE))

        with_token = Face(b"token")
        assert room(Face(), target) == 100_000
        refused = room(with_token, target)
        assert isinstance(refused, Answer)
        assert refused.status == 401
        assert room(with_token, target, authorization=("Bearer token",)) == 100_000
        assert room(Face(), "/connections/1/close") == 4096

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            ("GET", "/publish"),
            ("GET", "/publish/a"),
            ("GET", "/connections/1/send"),
            ("POST", "/channels"),
            ("POST", "/channels/a"),
        ],
    )
    def test_other_methods(self, face: Face, method: str, target: str) -> None:
        assert face.say(target, method)[0] == 405


class TestHistory:
    @pytest.fixture
    def hub(self, face: Face) -> LocalHub:
        hub = LocalHub(lambda: 5.0, history=History(100, 0, 100_000), wall=lambda: 5.0)
        face.routes.read_history = hub.history
        return hub

    def test_its_channel_is_percent_encoded_slashes_too(self, face: Face, hub: LocalHub) -> None:
        hub.publish("caf\u00e9/a b", b"x")
        hub.publish("", b"root")
        status, said = face.say("/history/caf%C3%A9%2Fa%20b")
        assert (status, said["channel"]) == (200, "caf\u00e9/a b")
        assert said["messages"] == [{"offset": 1, "time": 5.0, "data": "x"}]
        assert face.say("/history/")[1]["messages"][0]["data"] == "root"

    def test_page_by_page(self, face: Face, hub: LocalHub) -> None:
        for number in range(5):
            hub.publish("a", b"%d" % number)
        _, said = face.say("/history/a?limit=2")
        assert [each["data"] for each in said["messages"]] == ["3", "4"]
        assert said["next"] is None
        query = f"limit=3&since=0&epoch={said['epoch']}"
        _, said = face.say(f"/history/a?{query}")
        assert (said["offset"], said["next"], said["gap"]) == (3, 3, False)
        _, said = face.say(f"/history/a?limit=3&since={said['next']}&epoch={said['epoch']}")
        assert [each["offset"] for each in said["messages"]] == [4, 5]
        _, said = face.say("/history/a?since=3&epoch=another")
        assert (said["gap"], len(said["messages"])) == (True, 5)

    @pytest.mark.parametrize(
        "target", ["/history/a?limit=0", "/history/a?since=1", "/history/" + "x" * 256]
    )
    def test_a_wrong_request_is_400(self, face: Face, hub: LocalHub, target: str) -> None:
        status, said = face.say(target)
        assert (status, list(said)) == (400, ["error"])

    def test_without_a_history_it_is_404(self, face: Face) -> None:
        assert face.say("/history/a") == (404, {"error": "no history is kept; give --history"})
        assert face.say("/history") == (404, {"error": "there is no such path"})

    def test_it_is_read_only_and_needs_the_token(self, face: Face, hub: LocalHub) -> None:
        assert face.say("/history/a", "POST")[0] == 405
        assert Face(b"token").say("/history/a")[0] == 401

    def test_a_history_that_is_away_is_503(self, face: Face) -> None:
        def away(*_: Any) -> Deferred[Any]:
            return fail(HistoryAwayError("broker redis://h is away"))

        face.routes.read_history = away
        answer = face.ask("/history/a")
        assert (answer.status, json.loads(answer.body)) == (
            503,
            {"error": "broker redis://h is away"},
        )
        assert ("Retry-After", "1") in answer.headers


TOKENS = {
    "grafana": "read",
    "shop": "publish",
    "guard": "close",
    "login": "tickets",
    "anna": "all",
}


class TestRights:
    """Tokens of which each has one right, or all."""

    @pytest.fixture
    def face(self, tmp_path: Path) -> Face:
        path = tmp_path / "tokens"
        lines = [f"{name} {rights} {self.token(name)}\n" for name, rights in TOKENS.items()]
        path.write_text("".join(lines))
        path.chmod(0o600)
        face = Face()
        face.routes.access = Access(AdminTokens.read(str(path)))
        return face

    @staticmethod
    def token(name: str) -> str:
        return f"{name}-" + "0123456789abcdef"

    def ask(self, face: Face, name: str, target: str, method: str = "GET") -> Answer:
        answer = face.ask(target, method, authorization=f"Bearer {self.token(name)}")
        if isinstance(answer, Stream):
            return Answer(200, b"", ())
        assert isinstance(answer, Answer)
        return answer

    @staticmethod
    def example(route: Route) -> str:
        """Return a path of a route."""
        example = re.sub(r"\(/\.\*\)", "/news", route.path.pattern).replace(f"({IDS})", "1")
        example = example.replace("([^/]*)", "tom")
        assert route.path.fullmatch(example)
        return example

    def test_every_route_declares_what_it_needs(self, face: Face) -> None:
        open_to_all = set()
        for route in face.routes.table:
            if route.needs is Open.TO_ALL:
                open_to_all.add(route.path.pattern)
            else:
                assert route.needs is Open.TO_TOKENS or isinstance(route.needs, Right)
        assert open_to_all == OPEN_TO_ALL

    def test_every_route_is_refused_without_its_right(self, face: Face) -> None:
        face.served.connect().open()
        asked = set()
        for route in face.routes.table:
            target, method = self.example(route), route.methods[0]
            assert (face.ask(target, method).status == 401) == (route.needs is not Open.TO_ALL)
            for name, right in TOKENS.items():
                status = self.ask(face, name, target, method).status
                may = isinstance(route.needs, Open) or right in (route.needs.value, "all")
                assert (status == 403) == (not may), (target, name)
                asked.add(status)
        assert {200, 202, 403} <= asked

    def test_the_refusal_names_the_right(self, face: Face, logged: Logged) -> None:
        face.served.connect().open()
        answer = self.ask(face, "grafana", "/connections/1/close?x=secret", "POST")
        assert json.loads(answer.body) == {
            "error": "the token grafana has no right to close;"
            " give one that --admin-token-file lets do that"
        }
        assert logged.text == (
            "[wsservice#warn] admin token grafana: POST /connections/1/close was refused,"
            " it has no right to close"
        )

    def test_a_long_message_is_refused_before_it_comes(self, face: Face) -> None:
        given = {"host": ("localhost",), "authorization": (f"Bearer {self.token('grafana')}",)}
        long = AdminRequest("POST", "/publish/news", given, at=HERE)
        refusal = face.routes.room_for(long)
        assert isinstance(refusal, Answer)
        assert refusal.status == 403
        given["authorization"] = (f"Bearer {self.token('shop')}",)
        assert face.routes.room_for(long) == 100_000
        assert face.routes.room_for(attrs.evolve(long, target="/connections/1/close")) == 4096

    def test_actions_are_logged_by_name(self, face: Face, logged: Logged) -> None:
        face.served.connect().open()
        self.ask(face, "grafana", "/connections?limit=1")
        self.ask(face, "anna", "/connections/1/trace")
        self.ask(face, "shop", "/publish/n%0aews?y", "POST")
        self.ask(face, "guard", "/connections/1/close", "POST")
        self.ask(face, "guard", "/connections/7/close", "POST")
        assert logged.text.splitlines() == [
            "[wsservice#info] admin token anna: GET /connections/1/trace was answered with 200",
            "[wsservice#info] admin token shop: POST /publish/n%0aews was answered with 200",
            "[wsservice#info] admin token guard: POST /connections/1/close was answered with 202",
            "[wsservice#info] admin token guard: POST /connections/7/close was answered with 404",
        ]
        counted = {
            (sample.labels["token"], sample.labels["right"]): sample.value
            for family in ActionFigures(face.routes.actions, face.routes.access).collect()
            for sample in family.samples
            if sample.name == "wsservice_admin_requests_total"
        }
        assert counted == {
            ("grafana", "read"): 1,
            ("anna", "read"): 1,
            ("shop", "publish"): 1,
            ("guard", "close"): 2,
        }

    def test_a_caller_without_a_name_is_not_logged(self, logged: Logged) -> None:
        face = Face()
        face.served.connect().open()
        assert face.say("/connections/1/close", "POST")[0] == 202
        assert "admin token" not in logged.text

    def test_a_token_can_ask_what_it_may(self, face: Face) -> None:
        assert json.loads(self.ask(face, "shop", "/token").body) == {
            "name": "shop",
            "rights": ["publish"],
        }
        assert face.ask("/token").status == 401
        everything = {"name": None, "rights": ["read", "publish", "close", "tickets"]}
        assert Face().say("/token") == (200, everything)
