from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from wsservice.errors import NotAcceptedError, NotAnsweredError, NotReachedError
from wsservice.publish import Published, Publisher
from wsservice.publish import __main__ as publish


class Said:
    """The result of a run."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


class Face:
    """An admin face, to which the program publishes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.published: list[tuple[str, Any]] = []
        self.environment: dict[str, str] = {}
        self.problem: Exception | None = None
        self.answer = Published(2, 0)
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        face = self

        class Fake(Publisher):
            def publish(self, channel: str, message: Any) -> Published:
                if face.problem is not None and len(face.published) == 1:
                    raise face.problem
                face.published.append((channel, message))
                return face.answer

        def made(environment: dict[str, str], *, timeout: float) -> Publisher:
            face.environment = environment
            return Fake(
                environment.get("WSSERVICE_ADMIN_URL", "http://h"),
                token_file=environment.get("WSSERVICE_ADMIN_TOKEN_FILE"),
                timeout=timeout,
            )

        monkeypatch.setattr(publish, "Publisher", SimpleNamespace(from_environment=made))

    def run(self, *arguments: str, stdin: bytes | None = b"") -> Said:
        given = None if stdin is None else SimpleNamespace(buffer=io.BytesIO(stdin))
        self._monkeypatch.setattr(sys, "stdin", given)
        with pytest.raises(SystemExit) as ended:
            publish.main(arguments)
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, out, err)


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Face:
    for name in ("URL", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"WSSERVICE_ADMIN_{name}", raising=False)
    return Face(monkeypatch, capsys)


def test_an_argument_is_the_message(face: Face) -> None:
    said = face.run("news", "hello", stdin=None)
    assert face.published == [("news", "hello")]
    assert (said.status, said.out, said.err) == (0, "handed to 2 connections\n", "")


def test_each_line_of_standard_input_is_one(face: Face) -> None:
    said = face.run("news", stdin="one\r\n\ntw\u00f6".encode())
    assert face.published == [("news", "one"), ("news", ""), ("news", "tw\u00f6")]
    assert said.out == "3 messages, handed over 6 times\n"


def test_all_of_standard_input_is_one(face: Face) -> None:
    face.run("news", "--whole", stdin=b"one\ntwo\n")
    assert face.published == [("news", "one\ntwo\n")]


def test_no_line_is_no_message(face: Face) -> None:
    assert face.run("news").out == "0 messages, handed over 0 times\n"


def test_binary(face: Face) -> None:
    face.run("news", "--binary", stdin=b"\xff\n\0")
    face.run("news", "x\udcff", "--binary")
    assert face.published == [("news", b"\xff"), ("news", b"\0"), ("news", b"x\xff")]


def test_quiet(face: Face) -> None:
    assert face.run("news", "x", "-q").out == ""


def test_what_became_of_it(face: Face) -> None:
    face.answer = Published(2, 1, complete=False)
    assert face.run("news", "x").out == (
        "handed to 2 connections; 1 dropped for slow readers; on its way to more\n"
    )


@pytest.mark.parametrize(("nodes", "said"), [(1, "1 node"), (3, "3 nodes")])
def test_on_how_many_nodes_it_was_heard(face: Face, nodes: int, said: str) -> None:
    face.answer = Published(2, 0, complete=False, nodes=nodes)
    assert face.run("news", "x").out == f"handed to 2 connections; heard on {said}\n"
    assert face.run("news", stdin=b"x\ny").out == (
        f"2 messages, handed over 4 times; heard on {said}\n"
    )


def test_where_it_publishes(face: Face, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "token").write_text("s3cret")
    monkeypatch.setenv("WSSERVICE_ADMIN_TOKEN", "another")
    face.run("news", "x", "--url", "unix:a.sock", "--token-file", str(tmp_path / "token"))
    assert face.environment["WSSERVICE_ADMIN_URL"] == "unix:a.sock"
    assert face.environment["WSSERVICE_ADMIN_TOKEN_FILE"] == str(tmp_path / "token")
    assert "WSSERVICE_ADMIN_TOKEN" not in face.environment


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ((), b"", "the following arguments are required: CHANNEL; see --help"),
        (("a", "b", "c"), b"", "unrecognized arguments: c; see --help"),
        (("a", "b", "--no\x1b"), b"", r"unrecognized arguments: --no\x1b; see --help"),
        (("a", "b", "--timeout", "x"), b"", "argument --timeout: 'x' is not allowed; give"),
        (("a", "b", "--timeout", "0"), b"", "timeout: 0.0 is not allowed"),
        (("a", "b", "--url", "x"), b"", "url: 'x' is not allowed; give http://HOST:PORT"),
        (("a", "b", "--token-file", "/no/such"), b"", "token file: /no/such cannot be read"),
        (("a", "x\udcff"), b"", "the message is not UTF-8, from byte 2 on; give text, or"),
        (("a",), b"one\n\xff\n", "message 2 is not UTF-8, from byte 1 on; give text, or"),
    ],
)
def test_wrong_usage(face: Face, arguments: tuple[str, ...], stdin: bytes, said: str) -> None:
    outcome = face.run(*arguments, stdin=stdin)
    assert outcome.status == 2
    assert outcome.err.startswith(f"wsservice.publish: {said}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (NotReachedError("it cannot be reached"), 3),
        (NotReachedError("it cannot be reached", tls=True), 4),
        (NotAcceptedError("it refused", 403), 5),
        (NotAnsweredError("it gave no answer"), 7),
    ],
)
def test_what_goes_wrong_has_a_status_and_a_line(
    face: Face, problem: Exception, status: int
) -> None:
    face.problem = problem
    said = face.run("news", stdin=b"one\ntwo\nthree\n")
    assert said.status == status
    assert said.err == f"wsservice.publish: {problem} (1 message published before)\n"
    assert said.out == ""


def test_no_standard_input(face: Face) -> None:
    said = face.run("news", stdin=None)
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "there is no standard input; give a MESSAGE" in said.err


def test_too_much_for_a_message(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_MOST_OF_LINE", 4)
    for arguments in (("news",), ("news", "--whole")):
        assert face.run(*arguments, stdin=b"12345").status == 2
    assert face.published == []


def test_interrupted(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "_run", interrupted)
    said = face.run("news")
    assert (said.status, said.err) == (130, "")


def test_its_help_has_every_status(face: Face) -> None:
    said = face.run("--help")
    assert said.status == 0
    for status in publish.Status:
        assert f"\n  {int(status)}  " in said.out
