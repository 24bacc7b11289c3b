"""The client's prompt, as a person sees it."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .processes import free_port, wait_until
from .terminals import People, Person
from .test_client_program import Hosts, hosts
from .wire import PONG, TEXT, Closed, Host, frame

__all__ = ["hosts"]


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    people = People(tmp_path)
    yield people
    people.end()


def met(people: People, hosts: Hosts, *options: str, **how: Any) -> tuple[Person, Host]:
    """A person with a prompt, and the server."""
    person = people.person(hosts.url, *options, **how)
    host = hosts.next().accept()
    wait_until(lambda: ">" in person.lines, "a prompt")
    return person, host


def connected(hosts: Hosts) -> str:
    return f"· connected to {hosts.url}; /help for help, Ctrl-D closes"


def end_in_order(person: Person, host: Host, status: int = 0) -> None:
    """Ctrl-D, and what comes of it."""
    person.types("\x04")
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert person.wait() == status
    assert person.lines[-1] == "· closed with 1000"


def test_a_conversation(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts, columns=100)
    person.sees(connected(hosts), ">")
    person.enters("hello", "zwölf 漢字 😀 שלום")
    assert [host.receive(), host.receive()] == ["hello", "zwölf 漢字 😀 שלום"]
    person.types("not yet ent")
    host.send("meanwhile")
    person.sees("> hello", "> zwölf 漢字 😀 שלום", "< meanwhile", "> not yet ent")
    person.types("ered\r")
    assert host.receive() == "not yet entered"
    end_in_order(person, host)
    # The prompt is gone, and no error or warning of Python's is there.
    assert person.lines == [
        connected(hosts),
        "> hello",
        "> zwölf 漢字 😀 שלום",
        "< meanwhile",
        "> not yet entered",
        "· closed with 1000",
    ]


def test_nothing_of_a_message_is_obeyed_by_the_terminal(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts, "--json", "--color", "never")
    host.send("\x1b[2J\x1b]0;title\x07\x9b31mred\u202e\rover\n")
    host.send('{"a\u202e": "\x9b"}')
    host.send(b"\x1b[2J")
    person.sees(
        "< \\x1b[2J\\x1b]0;title\\x07\\x9b31mred\\u202e\\rover\\n",
        "< {",
        '  "a\\u202e": "\\u009b"',
        "}",
        "< (binary, 4 bytes) 1b5b324a",
        ">",
    )
    assert b"\x1b]0;" not in person.seen
    end_in_order(person, host)


def test_commands(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts, columns=100)
    (people.folder / "a file").write_bytes(b"\x00\xff")
    person.enters("/pin", "/binary 00 ff", "//slash")
    assert [host.receive(), host.receive()] == [b"\x00\xff", "/slash"]
    person.types("/file a\t\r")
    assert host.receive() == b"\x00\xff"
    person.sees(
        "· there is no command '/pin'; /help lists them, //pin sends it",
        "> (binary, 2 bytes) 00ff",
        "> /slash",
        "> a file (binary, 2 bytes)",
        ">",
    )
    person.enters("/ping hello")
    assert host._frame() == (9, b"hello")
    time.sleep(0.02)
    host.send_frame(PONG, b"hello")
    wait_until(lambda: person.lines[-2].startswith("· pong after "), "a pong")
    milliseconds = float(person.lines[-2].split()[3])
    assert 20 <= milliseconds < 5000
    person.enters("/headers")
    person.sees("  <", ">")
    assert "  > GET /path?room=1 HTTP/1.1" in person.lines
    assert "  < HTTP/1.1 101 Switching Protocols" in person.lines
    end_in_order(person, host)


def test_many_lines_that_are_pasted_are_one_message(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts)
    wait_until(lambda: b"\x1b[?2004h" in person.seen, "bracketed paste")
    person.types("\x1b[200~one\r\ntwo\n\tthree\x1b[201~")
    person.sees("> one", "  two", "  ^Ithree")
    person.types("\x1b\rfour\r")
    assert host.receive() == "one\ntwo\n\tthree\nfour"
    end_in_order(person, host)


def test_a_paste_of_a_hundred_thousand_characters(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts)
    wait_until(lambda: b"\x1b[?2004h" in person.seen, "bracketed paste")
    text = "0123456789" * 9 + "\n"
    person.types("\x1b[200~" + text * 1000 + "\x1b[201~\r")
    assert host.receive() == text * 1000
    person.looks_away()
    end_in_order(person, host)


def test_a_flood_neither_freezes_the_prompt_nor_fills_the_memory(
    people: People, hosts: Hosts
) -> None:
    person, host = met(people, hosts)
    before = _resident(person)
    messages = [frame(TEXT, b"message %d" % number, False) for number in range(100_000)]
    half = b"".join(messages[:50_000])
    host.socket.sendall(half)
    person.enters("in between")
    assert host.receive() == "in between"
    host.socket.sendall(b"".join(messages[50_000:]))
    wait_until(lambda: b"message 99999" in person.seen[-4000:], "the last of them", 60)
    assert person.seen.count(b"message ") == 100_000
    assert _resident(person) < before + 30_000_000
    person.looks_away()
    end_in_order(person, host)


def test_a_flood_of_what_nobody_can_read_so_fast_is_left_with_the_server(
    people: People, hosts: Hosts
) -> None:
    person, host = met(people, hosts)
    person.stops_looking()
    before = _resident(person)
    message = frame(TEXT, b"x" * 60_000, False)
    host.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        host.socket.sendall(message * 1000)
    assert _resident(person) < before + 30_000_000


def _resident(person: Person) -> int:
    """Octets of memory that the program has."""
    status = Path(f"/proc/{person.process.pid}/statm").read_text()
    return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_narrow_window_that_becomes_wide(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts, rows=10, columns=30)
    person.types("a line that is longer than that")
    person.sees("> a line that is longer than t", "  hat")
    person.resizes(10, 60)
    person.sees("> a line that is longer than that")
    host.send("y" * 50)
    person.sees("< " + "y" * 49, "y", "> a line that is longer than that")
    person.types("\r")
    assert host.receive() == "a line that is longer than that"
    end_in_order(person, host)


class TestHistory:
    def test_it_is_there_the_next_time(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        person.enters("one", " a secret", "two")
        assert [host.receive() for _ in range(3)] == ["one", " a secret", "two"]
        end_in_order(person, host)
        path = people.folder / "wsservice" / "history"
        assert path.read_text() == "one\ntwo\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        person, host = met(people, hosts)
        person.types("\x1b[A")
        person.sees("> two")
        person.types("\x1b[A\r")
        assert host.receive() == "one"
        end_in_order(person, host)

    def test_unless_it_is_not_wanted(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts, "--no-history")
        person.enters("one")
        assert host.receive() == "one"
        end_in_order(person, host)
        assert not (people.folder / "wsservice").exists()


class TestEnd:
    @pytest.mark.parametrize(
        ("code", "status", "said"),
        [
            (1000, 0, "· the server closed with 1000 (bye\\x1b[2J)"),
            (4001, 8, "· the server closed with 4001 (bye\\x1b[2J)"),
        ],
    )
    def test_the_server_closes(
        self, people: People, hosts: Hosts, code: int, status: int, said: str
    ) -> None:
        person, host = met(people, hosts)
        person.types("half a line")
        person.sees("> half a line")
        host.send_close(code, "bye\x1b[2J")
        assert host.receive() == Closed(code, "bye\x1b[2J")
        host.end()
        assert person.wait() == status
        assert person.lines[-1] == said

    def test_a_code_and_a_reason_may_be_given(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        person.enters("/close 4001 it is late")
        assert host.receive() == Closed(4001, "it is late")
        host.send_close(4001, "it is late")
        host.end()
        assert person.wait() == 0
        assert person.lines[-1] == "· closed with 4001 (it is late)"

    def test_it_is_lost(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        host.end()
        assert person.wait() == 6
        assert person.lines[-1] == "· the connection was lost without a close frame"

    def test_ctrl_c(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        person.types("half a line\x03")
        assert host.receive() == Closed(1000, "")
        person.sees("· closing; Ctrl-C again ends at once", "> half a line")
        host.send_close(1000)
        host.end()
        assert person.wait() == 130
        assert person.lines[-1] == "· closed with 1000"

    def test_ctrl_c_again(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts, "--close-timeout", "60")
        person.types("\x03")
        assert host.receive() == Closed(1000, "")
        person.sees("· closing; Ctrl-C again ends at once", ">")
        person.types("\x03")
        assert person.wait() == 130
        assert person.lines[-1] == "· closing; Ctrl-C again ends at once"

    def test_sigterm(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        person.process.send_signal(signal.SIGTERM)
        assert host.receive() == Closed(1000, "")
        host.send_close(1000)
        host.end()
        assert person.wait() == 143

    def test_time_is_up(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts, "--timeout", "3")
        assert host.receive() == Closed(1000, "")
        assert person.wait() == 7
        assert person.lines[-1] == "· timed out after 3 s"

    def test_the_window_is_closed(self, people: People, hosts: Hosts) -> None:
        person, host = met(people, hosts)
        person.leaves()
        assert person.wait() != 0
        assert host.at_end()

    def test_nobody_is_there(self, people: People) -> None:
        url = f"ws://127.0.0.1:{free_port()}/"
        person = people.person(url)
        assert person.wait() == 3
        assert person.lines == [f"wsservice.client: cannot connect to {url}: connection refused"]


def test_to_connect_anew_the_prompt_is_kept(people: People, hosts: Hosts) -> None:
    person, host = met(people, hosts, columns=100)
    person.enters("one", "/reconnect")
    assert host.receive() == "one"
    assert host.receive() == Closed(1000, "")
    person.types("two")
    host.send_close(1000)
    host.end()
    host = hosts.next().accept()
    person.sees("> one", "· closing, to connect anew", connected(hosts), "> two")
    person.types("\r")
    assert host.receive() == "two"
    end_in_order(person, host)


@pytest.mark.parametrize(
    ("options", "environment", "colours"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {}, False),
    ],
)
def test_colours(
    people: People, hosts: Hosts, options: list[str], environment: dict[str, str], colours: bool
) -> None:
    person, host = met(people, hosts, *options, environment=environment)
    host.send("hi")
    person.sees("< hi", ">")
    assert (b"\x1b[1;36m<\x1b[0m hi" in person.seen) is colours
    end_in_order(person, host)


@pytest.mark.parametrize("why", ["dumb", "missing"])
def test_without_a_prompt_it_works_plainly(people: People, hosts: Hosts, why: str) -> None:
    environment = {"TERM": "dumb"}
    if why == "missing":
        (people.folder / "prompt_toolkit.py").write_text("raise ImportError\n")
        environment = {"PYTHONPATH": str(people.folder)}
    person = people.person(hosts.url, environment=environment)
    host = hosts.next().accept()
    person.types("hello\n")
    assert host.receive() == "hello"
    host.send("hi\x1b[2J")
    person.sees("hi\\x1b[2J")
    said = "there is no prompt without prompt_toolkit: pip install 'wsservice[cli]'"
    assert (said in "".join(person.lines)) is (why == "missing")
    person.types("\x04")
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert person.wait() == 0
