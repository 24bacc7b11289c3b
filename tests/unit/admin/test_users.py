"""Requests of an operator for users."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.admin.queries import WrongError, connections_wanted, users_wanted
from wsservice.admin.users import closed, named, sent
from wsservice.auth.contract import User
from wsservice.directory.outcomes import UserReached

from ...support import BINARY, CLOSE, TEXT, Client
from .test_routes import Face


class Named(Face):
    """The routes of a server whose connections have users."""

    def client(self, user: str | None, path: str = "/x") -> Client:
        client = self.served.connect().open(path)
        client.protocol.user = None if user is None else User(user)
        return client


ODD = "a/b c*?é\u202e%25\"'<b>"
LONGEST = "/" * 127 + "*" * 128


@pytest.fixture
def face() -> Named:
    return Named()


def test_the_users_and_how_many_connections_each_has(face: Named) -> None:
    assert face.say("/users") == (200, {"total": 0, "users": [], "next": None})
    for user in ("tom", "ann", "tom", None, ODD):
        face.client(user)
    first = face.say("/users?limit=2")[1]
    assert first == {
        "total": 3,
        "users": [{"id": ODD, "connections": 1}, {"id": "ann", "connections": 1}],
        "next": "ann",
    }
    rest = face.say("/users?limit=2&after=ann")[1]
    assert rest["users"] == [{"id": "tom", "connections": 2}]
    assert rest["next"] is None
    assert face.say(f"/users?after={quote(ODD, safe='')}&limit=1")[1]["users"][0]["id"] == "ann"


def test_the_connections_of_a_user(face: Named) -> None:
    for user in ("tom", None, "ann", "tom"):
        face.client(user)
    status, said = face.say("/users/tom?limit=1")
    assert (status, said["user"], said["total"], said["next"]) == (200, "tom", 2, "1")
    assert [(each["id"], each["user"]) for each in said["connections"]] == [("1", "tom")]
    assert [each["id"] for each in face.say("/users/tom?after=1")[1]["connections"]] == ["4"]
    filtered = face.say("/connections?user=tom")[1]
    assert [each["id"] for each in filtered["connections"]] == ["1", "4"]
    assert filtered["total"] == 2
    assert face.say("/connections?user=eve")[1] == {"total": 0, "connections": [], "next": None}
    everybody = face.say("/connections")[1]["connections"]
    assert [each.get("user") for each in everybody] == ["tom", None, "ann", "tom"]
    assert "user" not in everybody[1]


@pytest.mark.parametrize("user", ["tom", ODD, LONGEST, "é" * 127, ".", "..", "send"])
def test_an_id_is_percent_encoded_whatever_it_has(face: Named, user: str) -> None:
    client, other = face.client(user), face.client("another")
    path = f"/users/{quote(user, safe='')}"
    assert face.say(path)[1]["user"] == user
    assert face.say(f"/connections?user={quote(user, safe='')}")[1]["total"] == 1
    assert face.say(f"{path}/send", "POST", b"hi") == (200, {"handed": 1, "dropped": 0})
    assert client.frames() == [(TEXT, b"hi")]
    assert face.say(f"{path}/close", "POST", b'{"code": 4001}') == (202, {"closing": 1})
    assert client.frames() == [(CLOSE, b"\x0f\xa1")]
    assert other.frames() == []


def test_a_message_goes_to_all_connections_of_the_user(face: Named) -> None:
    clients = [face.client("tom"), face.client("tom", "/y")]
    octets = {"content-type": "application/octet-stream"}
    answer = face.ask("/users/tom/send", "POST", b"\xff", **octets)
    assert answer.body == b'{"handed":2,"dropped":0}\n'
    assert [each.frames() for each in clients] == [[(BINARY, b"\xff")]] * 2
    assert face.say("/users/tom/send", "POST", b"\xff")[0] == 400
    assert face.say("/users/tom/close", "POST") == (202, {"closing": 2})
    assert face.say("/users/tom/close", "POST") == (404, {"error": "the user has no connection"})
    assert face.say("/users/tom/send", "POST", b"x")[0] == 404


@pytest.mark.parametrize("target", ["/users/tom", "/users/tom/send", "/users/tom/close"])
def test_a_user_without_a_connection_is_not_there(face: Named, target: str) -> None:
    method = "GET" if target.endswith("tom") else "POST"
    assert face.say(target, method) == (404, {"error": "the user has no connection"})


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/users/", "the user's id is empty"),
        ("/users//send", "the user's id is empty"),
        ("/users/a%00b", "the user's id has a control character"),
        ("/users/a%0D%0Ab/send", "the user's id has a control character"),
        ("/users/%E2%80%A8", "the user's id has a control character"),
        ("/users/%1b%5B31m", "the user's id has a control character"),
        ("/users/%", "the user's id is not percent-encoded"),
        ("/users/%zz/close", "the user's id is not percent-encoded"),
        ("/users/%FF", "the user's id is not UTF-8, percent-encoded"),
        ("/users/%ED%A0%80", "the user's id is not UTF-8, percent-encoded"),
        ("/users/" + "a" * 256, "the user's id has more than 255 octets"),
        ("/users/" + "%61" * 3400, "the user's id has more than 255 octets"),
        ("/users/" + "a" * 10_000 + "/send", "the user's id has more than 255 octets"),
        ("/connections?user=", "the user's id is empty"),
        ("/connections?user=" + "a" * 10_000, "the user's id has more than 255 octets"),
        ("/connections?user=%FF", "the user's id is not UTF-8, percent-encoded"),
        ("/connections?user=%00", "the user's id has a control character"),
        ("/connections?User=tom", "there is no such parameter; give limit, after and user"),
        ("/users?after=%00", "the user's id has a control character"),
        ("/users?user=tom", "there is no such parameter"),
        ("/users/tom?user=ann", "there is no such parameter; give limit and after"),
        ("/channels/x?user=tom", "there is no such parameter; give limit and after"),
    ],
)
def test_a_wrong_id_is_refused_in_one_line(face: Named, target: str, error: str) -> None:
    method = "POST" if target.endswith(("/send", "/close")) else "GET"
    answer = face.ask(target, method)
    status, said = face.say(target, method)
    assert status == 400
    assert said["error"].startswith(error)
    assert len(answer.body) < 200
    assert answer.body.count(b"\n") == 1
    assert answer.body.isascii()


@pytest.mark.parametrize(
    "target", ["/users/a/b/send", "/users/a/trace", "/users/a/send/", "/usersx"]
)
def test_other_paths_are_not_there(face: Named, target: str) -> None:
    assert face.say(target)[0] == 404


def test_methods(face: Named) -> None:
    for target in ("/users/tom/send", "/users/tom/close"):
        assert face.say(target)[0] == 405
    for target in ("/users", "/users/tom"):
        assert face.say(target, "POST")[0] == 405


def said(answer: Any) -> tuple[int, bytes]:
    return answer.status, answer.body


def test_what_is_not_known_is_said() -> None:
    partly = UserReached(2, 1, ("n worker 2",))
    assert said(sent(partly)) == (202, b'{"handed":2,"dropped":1,"missing":["n worker 2"]}\n')
    assert said(closed(partly)) == (202, b'{"closing":2,"missing":["n worker 2"]}\n')
    silent = UserReached(missing=("w 1", "w 2"))
    for answer in (sent(silent), closed(silent)):
        assert said(answer) == (
            504,
            b'{"error":"whether the user was reached is not known: no answer of w 1, w 2"}\n',
        )
    assert sent(UserReached(0, 1)).status == 200


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        assert named(quote(text, safe="")) == text
    except WrongError:
        with pytest.raises(ValueError, match="the user's id"):
            User(text)


def test_raw_utf_8_is_taken_too() -> None:
    assert named("caf\xc3\xa9") == "café"
    assert connections_wanted("user=caf\xc3\xa9", by_user=True).user == "café"
    assert users_wanted("limit=7").limit == 7
