from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wsservice import publish as publishing
from wsservice.errors import (
    ConfigError,
    NotAcceptedError,
    NotAnsweredError,
    NotReachedError,
    PublishError,
)
from wsservice.publish import http
from wsservice.publish.http import Deadline, FacePlace, Idle
from wsservice.publisher import TIMEOUT, Published, Publisher, publish, read_token, ticket


class Answer:
    will_close = False

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    def read(self, most: int) -> bytes:
        return self._body[:most]

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        """All of it was read."""


class Connection:
    """A connection of `http.client`, and what is asked on it."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.sock = object()
        self.is_closed = False
        self.limits: list[Deadline] = []

    def limit(self, deadline: Deadline) -> None:
        assert 0 < deadline.left() <= TIMEOUT
        self.limits.append(deadline)

    def open(self, deadline: Deadline) -> None:
        assert 0 < deadline.left() <= TIMEOUT
        if self.face.not_reached is not None:
            raise self.face.not_reached

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.face.asked.append((method, path, body, headers))
        if self.face.fails is not None:
            raise self.face.fails

    def getresponse(self) -> Any:
        return self.face.answers.pop(0) if len(self.face.answers) > 1 else self.face.answers[0]

    def close(self) -> None:
        self.is_closed = True


class Face:
    """An admin face in memory."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.answers = [Answer(200, b'{"handed": 2, "dropped": 1}')]
        self.made: list[Connection] = []
        self.not_reached: Exception | None = None
        self.fails: Exception | None = None
        self.can_be_read = False

    def connection(self, _place: object) -> Any:
        self.made.append(Connection(self))
        return self.made[-1]


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> Face:
    made = Face()
    monkeypatch.setattr(FacePlace, "connection", lambda *given: made.connection(*given))
    for module in (publishing, http):
        monkeypatch.setattr(module, "can_be_read", lambda *_: made.can_be_read)
    monkeypatch.setattr(publishing, "_publishers", {})
    for name in ("URL", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"WSSERVICE_ADMIN_{name}", raising=False)
    return made


def test_importing_it_loads_neither_twisted_nor_autobahn_nor_anything_else_installed() -> None:
    code = (
        "import sys; before = set(sys.modules);"
        "import wsservice.publisher, wsservice.publish.__main__;"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(tops - set(sys.stdlib_module_names) - {'wsservice'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


class TestAsking:
    def test_text(self, face: Face) -> None:
        assert Publisher().publish("/a b/\u00e4/", "h\u00e4") == Published(2, 1)
        assert face.asked == [
            (
                "POST",
                "/publish/a%20b/%C3%A4",
                "h\u00e4".encode(),
                {"Content-Type": "text/plain; charset=utf-8"},
            )
        ]

    def test_binary(self, face: Face) -> None:
        Publisher("http://h/base/").publish("", b"\xff")
        ((_, path, body, headers),) = face.asked
        assert (path, body) == ("/base/publish/", b"\xff")
        assert headers == {"Content-Type": "application/octet-stream"}

    def test_many(self, face: Face) -> None:
        Publisher().publish_many([("a", "h\u00e4\n"), ("b", b"\xff")])
        ((_, path, body, _),) = face.asked
        assert path == "/publish"
        assert list(map(json.loads, body.splitlines())) == [
            {"channel": "a", "data": "h\u00e4\n"},
            {"channel": "b", "data64": base64.b64encode(b"\xff").decode()},
        ]

    def test_none(self, face: Face) -> None:
        assert Publisher().publish_many([]) == Published(0, 0)
        assert face.asked == []

    def test_one_connection(self, face: Face) -> None:
        Publisher().send("17/..", "x")
        assert face.asked[0][1] == "/connections/17%2F../send"

    def test_one_user(self, face: Face) -> None:
        assert Publisher().send_user("a/b é*", b"x") == Published(2, 1)
        face.answers.append(Answer(202, b'{"handed": 2, "dropped": 1, "missing": ["worker 2"]}'))
        assert publishing.send_user("tom", "x") == Published(2, 1)
        assert publishing.send_user("tom", "x") == Published(2, 1, complete=False)
        assert [(path, body) for _, path, body, _ in face.asked] == [
            ("/users/a%2Fb%20%C3%A9%2A/send", b"x"),
            ("/users/tom/send", b"x"),
            ("/users/tom/send", b"x"),
        ]

    def test_the_token(self, face: Face) -> None:
        Publisher(token="s3cret").publish("a", "b")
        assert face.asked[0][3]["Authorization"] == "Bearer s3cret"

    def test_a_token_that_was_changed_is_read_anew(self, face: Face, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("old\n")
        made = Publisher(token_file=str(file))
        face.answers = [*(Answer(401, b"{}") for _ in range(2)), *face.answers]
        with pytest.raises(NotAcceptedError):
            made.publish("a", "b")
        assert len(face.asked) == 1
        file.unlink()
        face.answers.insert(0, face.answers[0])
        with pytest.raises(NotAcceptedError):
            made.publish("a", "b")
        file.write_text("new\n")
        made.publish("a", "b")
        given = [headers["Authorization"] for _, _, _, headers in face.asked]
        assert given == [f"Bearer {token}" for token in ("old", "old", "old", "new")]

    def test_half_a_character_is_no_text(self, face: Face) -> None:
        for channel, message in (("a", "\ud800"), ("\ud800", "a")):
            with pytest.raises(PublishError, match="cannot be encoded in UTF-8"):
                Publisher().publish(channel, message)
        with pytest.raises(PublishError):
            Publisher().publish_many([("a", "b"), ("a", "\ud800")])
        assert face.asked == []


class TestAnswers:
    def test_still_on_its_way(self, face: Face) -> None:
        face.answers = [Answer(202, b'{"handed": 0, "dropped": 0}')]
        assert Publisher().publish("a", "b") == Published(0, 0, False)

    def test_on_how_many_nodes_it_was_heard(self, face: Face) -> None:
        face.answers = [Answer(202, b'{"handed": 1, "dropped": 0, "nodes": 2}')]
        assert Publisher().publish("a", "b") == Published(1, 0, False, 2)
        face.answers = [Answer(200, b'{"handed": 1, "dropped": 0, "nodes": "\\u001b"}')]
        assert Publisher().publish("a", "b") == Published(1, 0, True, None)

    def test_that_it_is_not_known(self, face: Face) -> None:
        face.answers = [Answer(504, b'{"error": "it is not known"}')]
        with pytest.raises(NotAnsweredError, match="answered 504: it is not known"):
            Publisher().publish("a", "b")

    def test_a_refusal_says_why(self, face: Face) -> None:
        face.answers = [Answer(413, b'{"error": "a body has \\u001b at most 4096 octets"}')]
        with pytest.raises(NotAcceptedError) as caught:
            Publisher().publish("a", "b")
        assert str(caught.value) == (
            r"http://127.0.0.1:8081 refused with 413: a body has \x1b at most 4096 octets"
        )
        assert caught.value.status == 413

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 7}', b"[" * 9999])
    @pytest.mark.parametrize("status", [301, 404, 502])
    def test_a_refusal_that_does_not(self, face: Face, status: int, body: bytes) -> None:
        face.answers = [Answer(status, body)]
        with pytest.raises(
            NotAcceptedError, match=rf"^http://127.0.0.1:8081 refused with {status}$"
        ):
            Publisher().publish("a", "b")

    @pytest.mark.parametrize(
        "body", [b"", b"ok", b"{}", b'{"handed": true, "dropped": 0}', b'{"handed": 1}']
    )
    def test_somebody_else_answers(self, face: Face, body: bytes) -> None:
        face.answers = [Answer(200, body)]
        with pytest.raises(NotAcceptedError, match="not as an admin listener does"):
            Publisher().publish("a", "b")

    @pytest.mark.parametrize(
        ("error", "why", "tls"),
        [
            (ConnectionRefusedError(111, "Connection refused"), "Connection refused", False),
            (TimeoutError(), "it took too long", False),
            (FileNotFoundError(2, "No such file"), "No such file", False),
            (ssl.SSLError(1, "wrong version number"), "TLS failed", True),
        ],
    )
    def test_nobody_there(self, face: Face, error: OSError, why: str, tls: bool) -> None:
        face.not_reached = error
        with pytest.raises(NotReachedError, match=f"cannot be reached, {why}") as caught:
            Publisher().publish("a", "b")
        assert caught.value.tls is tls
        assert face.made[0].is_closed
        assert face.asked == []

    @pytest.mark.parametrize(
        "error", [TimeoutError(), ConnectionResetError(104, "reset"), BrokenPipeError(32, "pipe")]
    )
    def test_no_answer(self, face: Face, error: Exception) -> None:
        face.fails = error
        with pytest.raises(NotAnsweredError, match="may have been published, or not"):
            Publisher().publish("a", "b")
        assert face.made[0].is_closed

    def test_one_who_does_not_read_to_the_end_may_have_said_why(self, face: Face) -> None:
        face.fails, face.can_be_read = BrokenPipeError(32, "pipe"), True
        face.answers = [Answer(413, b'{"error": "too much"}')]
        with pytest.raises(NotAcceptedError, match="too much"):
            Publisher().publish("a", "b")


class TestKeeping:
    def test_a_connection_serves_again(self, face: Face) -> None:
        with Publisher() as made:
            for _ in range(3):
                made.publish("a", "b")
            assert len(face.made) == 1
            assert not face.made[0].is_closed
        assert face.made[0].is_closed

    def test_one_that_the_other_end_closed_does_not(self, face: Face) -> None:
        made = Publisher()
        made.publish("a", "b")
        face.can_be_read = True
        made.publish("a", "b")
        assert len(face.made) == 2
        assert face.made[0].is_closed

    def test_one_that_waited_for_long_does_not(
        self, face: Face, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Publisher()
        made.publish("a", "b")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        made.publish("a", "b")
        assert len(face.made) == 2

    def test_a_child_has_its_own(self, face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Publisher()
        made.publish("a", "b")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        made.publish("a", "b")
        assert len(face.made) == 2
        assert not face.made[0].is_closed

    def test_not_more_than_some(self, face: Face) -> None:
        idle = Idle()
        made: Any = [Connection(face) for _ in range(http._KEPT + 1)]
        for each in made:
            idle.keep(each)
        assert [each.is_closed for each in made] == [True] + [False] * http._KEPT
        assert idle.take() is made[-1]


def test_a_name_that_python_does_not_look_up_is_not_reached(face: Face) -> None:
    face.not_reached = UnicodeError("label empty or too long")
    with pytest.raises(NotReachedError, match="cannot be reached, label empty or too long"):
        Publisher().publish("a", "b")


class TestSettings:
    @pytest.mark.parametrize(
        "url",
        [
            *("", "ftp://h", "h:8081", "http://", "http://h:x", "http://h:99999", "unix:"),
            *("http://a..b", f"http://{'x' * 64}", "http://.h", "http://\u00fc_", "http://[::g]"),
            *("http://u:p@h", "http://h/?x", "http://h/#x", "http://h h", "http://h\n", "unix:\0"),
        ],
    )
    def test_a_url_that_is_none(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"^url: .*give http://HOST:PORT, https:.* or unix:"):
            Publisher(url)

    @pytest.mark.parametrize(
        ("url", "host", "port", "prefix"),
        [
            ("http://my_service:1/x/", "my_service", 1, "/x"),
            ("https://r3---sn.cdn.example", "r3---sn.cdn.example", None, ""),
            ("https://a.example.", "a.example.", None, ""),
            ("https://b\u00fccher.example/\u00fc", "xn--bcher-kva.example", None, "/%C3%BC"),
            ("http://[::1]:2", "::1", 2, ""),
        ],
    )
    def test_every_name_that_dns_may_have(
        self, url: str, host: str, port: int | None, prefix: str
    ) -> None:
        place = Publisher(url)._place
        assert (place.host, place.port, place.prefix) == (host, port, prefix)

    @pytest.mark.parametrize("timeout", [0, -1, 1e9, float("nan")])
    def test_a_timeout_that_is_none(self, timeout: float) -> None:
        with pytest.raises(ConfigError, match="timeout"):
            Publisher(timeout=timeout)

    @pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "\u00e4"])
    def test_a_token_that_is_none(self, token: str) -> None:
        with pytest.raises(ConfigError, match=r"^token: it is not allowed"):
            Publisher(token=token)

    @pytest.mark.parametrize("content", [b"", b"a b", b"\xff", b"x" * 5000])
    def test_a_file_without_a_token(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(ConfigError, match="has no token, or more than one"):
            read_token(str(tmp_path / "token"))

    def test_a_file_that_is_not_there(self) -> None:
        for path in ("/no/such", "a\0b"):
            with pytest.raises(ConfigError, match="cannot be read"):
                read_token(path)

    def test_certificates_are_verified_unless_told_otherwise(self) -> None:
        place = Publisher("https://h")._place
        assert place.context is not None
        assert place.context.verify_mode is ssl.CERT_REQUIRED
        assert place.context.check_hostname

    def test_a_token_is_not_shown(self) -> None:
        assert "s3cret" not in repr(Publisher(token="s3cret"))


class TestEnvironment:
    def test_what_it_says(
        self, face: Face, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("WSSERVICE_ADMIN_URL", "http://there:1/x")
        monkeypatch.setenv("WSSERVICE_ADMIN_TOKEN", "s3cret")
        monkeypatch.setenv("WSSERVICE_ADMIN_TOKEN_FILE", "/no/such")
        publish("a", "b")
        assert face.asked[0][1] == "/x/publish/a"
        assert face.asked[0][3]["Authorization"] == "Bearer s3cret"
        monkeypatch.delenv("WSSERVICE_ADMIN_TOKEN")
        with pytest.raises(ConfigError):
            publish("a", "b")

    def test_arguments_come_first_and_the_same_ones_share_connections(self, face: Face) -> None:
        for _ in range(2):
            publish("a", "b", url="http://there/x", token="one")
        publish("a", "b", url="http://there/x", token="two")
        assert [path for _, path, _, _ in face.asked] == ["/x/publish/a"] * 3
        assert len(face.made) == 2


class TestTicket:
    def test_what_is_asked_and_what_is_returned(self, face: Face) -> None:
        face.answers = [Answer(201, b'{"ticket": "abc-_1", "expires": 30}')]
        assert ticket("j\u00f6rg", {"role": "editor"}, token="t") == "abc-_1"
        method, path, body, headers = face.asked[0]
        assert (method, path) == ("POST", "/tickets")
        assert json.loads(body) == {"user": "j\u00f6rg", "claims": {"role": "editor"}}
        assert headers["Content-Type"] == "application/json"
        assert headers["Authorization"] == "Bearer t"
        Publisher().ticket("tom")
        assert json.loads(face.asked[1][2]) == {"user": "tom"}

    @pytest.mark.parametrize(
        ("status", "said", "problem"),
        [
            (403, b'{"error": "the token grafana has no right to tickets"}', "no right to tickets"),
            (404, b'{"error": "no ticket is taken"}', "refused with 404: no ticket is taken"),
            (503, b'{"error": "too many tickets"}', "refused with 503: too many tickets"),
            (429, b'{"error": "too many wrong tokens"}', "refused with 429: too many"),
            (201, b"[]", "answered 201, but not as an admin listener does"),
            (201, b'{"ticket": "a b", "expires": 30}', "but not as an admin listener does"),
            (201, b'{"ticket": 7, "expires": 30}', "but not as an admin listener does"),
            (200, b'{"handed": 0, "dropped": 0}', "but not as an admin listener does"),
        ],
    )
    def test_a_refusal(self, face: Face, status: int, said: bytes, problem: str) -> None:
        face.answers = [Answer(status, said)]
        with pytest.raises(NotAcceptedError) as caught:
            ticket("tom")
        assert problem in str(caught.value)
        assert caught.value.status == status

    @pytest.mark.parametrize("claims", [{"a": b"x"}, {"a": float("nan")}, {"a": {1}}])
    def test_claims_that_are_no_json(self, face: Face, claims: Any) -> None:
        with pytest.raises(PublishError, match="the claims are not JSON"):
            ticket("tom", claims)
        assert face.asked == []


def test_a_token_without_the_right_is_refused_by_name(face: Face) -> None:
    face.answers = [Answer(403, b'{"error": "the token grafana has no right to publish; give"}')]
    with pytest.raises(NotAcceptedError, match="403: the token grafana has no right to publish"):
        publish("a", "b")


def test_a_file_of_several_tokens_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("shop publish 0123456789abcdef\n")
    with pytest.raises(ConfigError, match="copy the one token that this program needs") as caught:
        read_token(str(tmp_path / "tokens"))
    assert "0123456789abcdef" not in str(caught.value)
