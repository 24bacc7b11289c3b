"""permitted.py: channels are judged in the opening handshake, before `onConnect` and after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from wsservice.auth.contract import User
from wsservice.auth.rules import ChannelRules
from wsservice.channels.query import LONGEST
from wsservice.config.rules import parse_rules
from wsservice.server.behaviours import ServerProtocol
from wsservice.server.permitted import objection

from ...support import Client, Logged, Served

RULES = [
    {"match": "room.*", "subscribe": "users", "publish": "subscribers", "history": "users"},
    {"match": "user.{user}", "subscribe": "users"},
    {"match": "past", "subscribe": "users"},
    {"match": "", "subscribe": "anyone"},
    {"match": "public", "subscribe": "anyone"},
]
ENVELOPES = "Sec-WebSocket-Protocol: wsservice.v1"


TOM = User("tom")


def of(user: User | None) -> type[ServerProtocol]:
    """Return a behaviour whose connections are all of one user."""

    class Known(ServerProtocol):
        pass

    Known.user = user  # type: ignore[assignment]
    return Known


def served(
    user: User | None = TOM,
    behaviour: Callable[[type[ServerProtocol]], type[ServerProtocol]] = lambda known: known,
    rules: Any = RULES,
    **settings: Any,
) -> Served:
    made = Served(behaviour(of(user)), **settings)
    made.factory.channel_rules = ChannelRules(parse_rules(rules))
    return made


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/room.1", 101),
        ("/room.1/", 101),
        ("//room.1//", 101),
        ("/%72oom.1", 101),
        ("/room.%2f", 101),
        ("/room.1%2f", 101),
        ("/?channel=room.1", 101),
        ("/?channel=%2Froom.1/", 101),
        ("/?channel=room.1&channel=user.tom", 101),
        ("/user.tom", 101),
        ("/Room.1", 403),
        ("/%52oom.1", 403),
        ("/x/room.1", 403),
        ("/room", 403),
        ("/r%D0%BEom.1", 403),
        ("/room%EF%BC%8E1", 403),
        # Undecodable names are taken as they stand.
        ("/%zzroom.1", 403),
        ("/user.", 403),
        ("/user.ann", 403),
        ("/user.{user}", 403),
        ("/user.%7Buser%7D", 403),
        ("/user.*", 403),
        ("/user.to%6D", 101),
        ("/user.tom.", 403),
        ("/room.1?channel=secret", 403),
        ("/?channel=room.1&channel=secret", 403),
        ("/?channel=room.1&channel=user.ann", 403),
    ],
)
def test_paths_and_queries_are_judged_alike(target: str, expected: int) -> None:
    assert status(served().connect().ask(target)) == expected


@given(st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()))
def test_a_name_has_one_verdict_however_it_is_asked_for(name: str) -> None:
    if not name.strip("/"):
        return
    quoted = "".join(f"%{octet:02X}" for octet in name.encode())
    rules = [{"match": "", "subscribe": "users"}, {"match": "*a*", "subscribe": "users"}]
    expected = 101 if "a" in name else 403
    for target in (f"/{quoted}", f"/{quoted}/", f"/?channel={quoted}", f"/?channel=/{quoted}"):
        assert status(served(rules=rules).connect().ask(target)) == expected


@pytest.mark.parametrize("id_", ["*", "?", "{user}", "to*", ".*", "[a-z]", "tom\\"])
def test_an_id_is_no_pattern(id_: str) -> None:
    assert status(served(User(id_)).connect().ask("/user.tom")) == 403


def test_one_refused_channel_refuses_the_handshake_in_one_line(logged: Logged) -> None:
    answer = served().connect().ask("/room.1?channel=user.ann&channel=public")
    assert status(answer) == 403
    assert body(answer) == 'this user may not subscribe to the channel: "user.ann"\n'
    (line,) = [each for each in logged.text.splitlines() if "user.ann" in each]
    assert line.endswith(
        'refused with 403: this user may not subscribe to the channel: "user.ann"; no rule matches'
    )
    assert not logged.failures


def test_the_line_names_the_rule() -> None:
    rules = [*RULES, {"match": "se*"}]
    said = served(rules=rules)
    client = said.connect()
    assert status(client.ask("/secret")) == 403
    assert "rule 6, subscribe = nobody" in client.protocol.wasNotCleanReason
    assert said.factory.counts.refusals["forbidden"] == 1


def test_a_channel_is_escaped_in_the_answer_and_in_the_log(logged: Logged) -> None:
    answer = served().connect().ask("/?channel=a%E2%80%AEb%0B")
    assert status(answer) == 400  # a control character
    answer = served().connect().ask("/?channel=a%E2%80%AEb")
    assert body(answer).endswith('channel: "a\\u202eb"\n')
    assert "\u202e" not in logged.text
    assert "\\u202eb" in logged.text


@pytest.mark.parametrize("octets", [LONGEST + 1, 10_000])
def test_a_long_name_is_refused_before_any_rule(octets: int, logged: Logged) -> None:
    rules = [{"match": "*" * 100 + "b", "subscribe": "users"}, {"match": "*"}]
    assert status(served(rules=rules).connect().ask("/" + "a" * octets)) == 414
    assert status(served(rules=rules).connect().ask("/?channel=" + "a" * octets)) in (400, 414)
    assert status(served(rules=rules).connect().ask("/" + "a" * LONGEST)) == 403


def test_the_anonymous_are_where_anyone_may_be() -> None:
    for target, expected in (("/public", 101), ("/", 101), ("/room.1", 403), ("/user.", 403)):
        answer = served(None).connect().ask(target)
        assert status(answer) == expected
        if expected == 403:
            assert body(answer).startswith("the anonymous may not subscribe to the channel: ")


def test_a_malformed_claim_is_403_in_one_line(logged: Logged) -> None:
    answer = served(User("tom", {"caps": [{"channels": "x\r\ny"}]})).connect().ask("/room.1")
    assert status(answer) == 403
    assert body(answer).count("\n") == 1
    assert body(answer).startswith("entry 1 of the claim caps has an allow that is no list")
    assert not logged.failures
    assert len([each for each in logged.text.splitlines() if "claim caps" in each]) == 1


def test_claims_add_to_rules() -> None:
    tom = User("tom", {"caps": [{"channels": ["s.*"], "match": "wildcard", "allow": ["sub"]}]})
    assert status(served(tom).connect().ask("/s.1")) == 101
    assert status(served().connect().ask("/s.1")) == 403


def test_without_rules_any_channel_and_with_caps_those_only() -> None:
    tom = User("tom", {"caps": [{"channels": ["a"], "allow": ["sub"]}]})
    assert status(served(rules=[]).connect().ask("/any?channel=other")) == 101
    assert status(served(tom, rules=[]).connect().ask("/a")) == 101
    assert status(served(tom, rules=[]).connect().ask("/b")) == 403
    assert status(served(tom, rules=[]).connect().ask("/")) == 403


def test_without_auth_nobody_is_judged() -> None:
    plain = Served(channels=RULES)
    assert plain.factory.channel_rules is None
    client = plain.connect()
    assert status(client.ask("/secret")) == 101
    assert client.protocol.permissions.may("publish", "anything")
    # Nothing of all this is on the connection.
    assert not {each for each in vars(client.protocol) if "claim" in each or "permi" in each}


class Asked:
    """Adds an `onConnect` to a behaviour, and counts its calls."""

    def __init__(self, decide: Callable[[Any], Any]) -> None:
        self.calls: list[Any] = []
        self._decide = decide

    def __call__(self, known: type[ServerProtocol]) -> type[ServerProtocol]:
        asked = self

        class Asking(known):  # type: ignore[misc, valid-type]
            def onConnect(self, request: ConnectionRequest) -> Any:
                asked.calls.append(self)
                return asked._decide(self)

        return Asking


def test_on_connect_sees_the_verdicts() -> None:
    seen = []
    asked = Asked(
        lambda each: seen.append(
            [
                each.permissions.may("publish", "room.1"),
                each.permissions.may("publish", "room.2"),
                each.permissions.may("presence", "room.1"),
                each.permissions.may("subscribe", "user.tom"),
                each.permissions.ruling("history", "room.1").why,
            ]
        )
    )
    assert status(served(behaviour=asked).connect().ask("/room.1")) == 101
    assert seen == [[True, False, False, True, "rule 1, history = users"]]


def test_on_connect_is_not_asked_about_a_refused_channel() -> None:
    asked = Asked(lambda each: None)
    assert status(served(behaviour=asked).connect().ask("/secret")) == 403
    assert asked.calls == []


def test_a_behaviour_narrows() -> None:
    def deny(_: Any) -> None:
        raise ConnectionDeny(409)

    assert status(served(behaviour=Asked(deny)).connect().ask("/room.1")) == 409


@pytest.mark.parametrize("later", [False, True])
def test_a_behaviour_does_not_widen(later: bool, logged: Logged) -> None:
    waiting: list[Deferred[None]] = []

    def move(each: Any) -> Any:
        each.channel = "secret"
        if later:
            waiting.append(Deferred())
            return waiting[0]
        return None

    made = served(behaviour=Asked(move))
    client = made.connect()
    answer = client.ask("/room.1")
    if later:
        waiting[0].callback(None)
        answer = client.taken()
    assert status(answer) == 403
    assert body(answer) == 'this user may not subscribe to the channel: "secret"\n'
    assert made.hub.sizes().open == 0
    assert not logged.failures


def test_a_renewed_user_has_the_rights_of_the_new_claims() -> None:
    client = served().connect().open("/room.1")
    protocol = client.protocol
    assert not protocol.permissions.may("publish", "news")
    protocol.user = User("tom", {"caps": [{"channels": ["news"], "allow": ["pub"]}]})
    assert protocol.permissions.may("publish", "news")
    protocol.user = User("tom")
    assert not protocol.permissions.may("publish", "news")


def test_a_reload_reaches_the_questions_of_open_connections() -> None:
    made = served()
    client = made.connect().open("/room.1")
    assert client.protocol.permissions.may("publish", "room.1")
    made.factory.channel_rules = ChannelRules(())
    assert client.protocol.permissions.may("publish", "any")


def envelopes(client: Any) -> list[str]:
    return [payload.decode() for _, payload in client.frames()]


def test_who_may_not_see_the_history_gets_a_gap_instead() -> None:
    made = served(history=10)
    for channel in ("room.1", "past"):
        for number in range(3):
            made.hub.publish(channel, b"%d" % number)
    history = made.hub.kept
    assert history is not None
    epochs = {each: history.position(each).epoch for each in ("room.1", "past")}
    got = {}
    for channel, epoch in epochs.items():
        client = made.connect()
        client.send(
            b"GET /%s?since=1&epoch=%s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % (channel.encode(), epoch.encode(), ENVELOPES.encode())
        )
        head, _, rest = client.taken().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        client.transport.write(rest)
        made.clock.advance(0)
        made.hub.publish(channel, b"live")
        got[channel] = envelopes(client)
    assert ['"data":"1"' in each for each in got["room.1"]][:2] == [True, False]
    assert not any('"data":"1"' in each or '"data":"2"' in each for each in got["past"])
    assert '"gap":true' in got["past"][0]
    assert '"data":"live"' in got["past"][-1]
    assert '"data":"live"' in got["room.1"][-1]


def test_a_publication_asks_no_rule_and_once_what_is_kept() -> None:
    rules: Any = [{"match": f"x{number}.*"} for number in range(100)]
    rules += [{"match": "*", "subscribe": "users", "keep": 3}]
    made = served(rules=rules, channels=rules)
    clients = [made.connect().open("/room.1") for _ in range(50)]
    judge, kept = made.factory.channel_rules, made.hub.kept
    assert judge is not None
    assert kept is not None
    found: Any = judge.find
    of_channel: Any = kept.keeping.of_channel
    before = found.cache_info(), of_channel.cache_info()
    for _ in range(10):
        made.hub.publish("room.1", b"x")
    assert all(len(each.frames()) == 10 for each in clients)
    after = found.cache_info(), of_channel.cache_info()
    assert after[0] == before[0]
    assert after[1].hits + after[1].misses == before[1].hits + before[1].misses + 10


KEEPS = [
    {"match": "none.*", "subscribe": "users", "history": "users", "keep": 0},
    {"match": "own.*", "subscribe": "users"},
    {"match": "*", "subscribe": "users", "history": "users"},
]


def said(client: Client) -> list[tuple[str, str]]:
    """The channel and the data of each envelope, or what else it says."""
    given = [json.loads(payload) for _, payload in client.frames()]
    return [
        (each["channel"], each.get("data") or ("gap" if each.get("gap") else "joined"))
        for each in given
    ]


def spoken(made: Served, target: str) -> Client:
    """Connect a client of wsservice.v1."""
    client = made.connect()
    head, _, rest = client.ask(target, ENVELOPES).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    client.transport.write(rest)
    made.clock.advance(0)
    return client


def test_a_channel_of_which_nothing_is_kept_is_live_at_once_beside_others() -> None:
    made = served(rules=KEEPS, channels=KEEPS, history=5)
    made.hub.publish("a", b"1")
    kept = made.hub.kept
    assert kept is not None
    epoch = kept.position("a").epoch
    client = spoken(made, f"/none.1?since=4&epoch={epoch}&channel=a&since=0&epoch={epoch}")
    made.hub.publish("none.1", b"2")
    made.hub.publish("a", b"3")
    assert said(client) == [("none.1", "gap"), ("a", "1"), ("none.1", "2"), ("a", "3")]


@pytest.mark.parametrize("envelopes", [False, True])
def test_the_last_messages_need_the_right_and_a_history(envelopes: bool) -> None:
    made = served(rules=KEEPS, channels=KEEPS, history=5)
    for channel in ("none.1", "own.1", "a"):
        made.hub.publish(channel, b"old")
    target = "/a?channel=none.1&channel=own.1&history=3"
    client = spoken(made, target) if envelopes else made.connect().open(target)
    for channel in ("none.1", "own.1", "a"):
        made.hub.publish(channel, b"new")
    if envelopes:
        assert sorted(each for each in said(client) if each[1] != "joined") == [
            *(("a", "new"), ("a", "old"), ("none.1", "new"), ("own.1", "new"))
        ]
    else:
        assert sorted(payload for _, payload in client.frames()) == [b"new"] * 3 + [b"old"]


def test_a_renewed_token_that_allows_less_is_an_objection() -> None:
    client = served().connect().open("/room.1?channel=user.tom")
    forbidden = objection(client.protocol, User("tom", {"caps": []}))
    assert forbidden is None
    made = served(User("tom", {"caps": [{"channels": ["s"], "allow": ["sub"]}]}))
    client = made.connect().open("/s")
    forbidden = objection(client.protocol, User("tom"))
    assert forbidden is not None
    assert (forbidden.status, forbidden.problem) == (
        *(403, "this user may not subscribe to the channel"),
    )
    forbidden = objection(client.protocol, User("tom", {"caps": 5}))
    assert forbidden is not None
    assert forbidden.problem == "the claim caps is not a list"
