"""`--reconnect` and the pings, with real programs and servers that come and go."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..certificates import Authority
from .processes import Program, Programs, wait_until
from .terminals import People, Person
from .test_client_connecting import Secure, secure
from .test_client_library import Place, place
from .wire import PING, Closed, Host

__all__ = ["place", "secure"]

LOST = "the connection was lost without a close frame"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    people = People(tmp_path)
    yield people
    people.end()


def staying(place: Place, programs: Programs, *options: str) -> Program:
    """The client, whose standard input has no end yet."""
    return programs.client(place.url, "--reconnect", *options, stdin=subprocess.PIPE)


def says(client: Program, *lines: str) -> None:
    """Give it lines."""
    pipe = client.process.stdin
    assert pipe is not None
    pipe.write("".join(f"{line}\n" for line in lines).encode())
    pipe.flush()


def says_no_more(client: Program) -> None:
    assert client.process.stdin is not None
    client.process.stdin.close()


def end_in_order(host: Host) -> None:
    """Answer the client's close."""
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()


def errors(client: Program) -> list[str]:
    """Return the lines of standard error, without the random delays."""
    lines = [line.removeprefix("wsservice.client: ") for line in client.stderr.lines]
    return [line.partition("; trying again in ")[0] for line in lines]


class TestScripts:
    def test_a_server_that_comes_and_goes(self, place: Place, programs: Programs) -> None:
        place.end()
        client = staying(place, programs, "-m", "first", "--count", "2")
        client.stderr.wait_for("connection refused; trying again in ")
        place.listen()
        host = place.next().accept()
        assert host.receive() == "first"
        host.send("1")
        client.stdout.wait_for("1\n")
        says(client, "second")
        assert host.receive() == "second"
        place.end()
        client.stderr.wait_for(LOST)
        says(client, "third", "fourth")
        place.listen()
        host = place.next().accept()
        assert [host.receive(), host.receive()] == ["third", "fourth"]
        host.send("2")
        host.send("3")
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.text == "1\n2\n"
        refused = f"cannot connect to {place.url}: connection refused"
        said = [each for each in errors(client) if each != refused]
        assert said[0].startswith(f"{LOST}; ")
        assert said[0].endswith("may have been lost")
        assert said[1] == "connected again, sending 2 messages that waited"
        assert len(said) == 2

    @pytest.mark.parametrize("code", [1000, 1001, 4001])
    def test_a_close_by_the_server_is_not_the_end(
        self, place: Place, programs: Programs, code: int
    ) -> None:
        client = staying(place, programs)
        host = place.next().accept()
        host.send_close(code, "see you")
        assert host.receive() == Closed(code, "see you")
        host.end()
        host = place.next().accept()
        host.send("hello again")
        client.stdout.wait_for("hello again\n")
        says_no_more(client)
        end_in_order(host)
        assert client.wait() == 0
        assert errors(client) == [f"the server closed with {code} (see you)", "connected again"]

    def test_unless_it_was_waited_for(self, place: Place, programs: Programs) -> None:
        client = staying(place, programs, "--expect-close", "4001")
        for code in (1000, 4001):
            host = place.next().accept()
            host.send_close(code)
            assert host.receive() == Closed(code, "")
            host.end()
        assert client.wait() == 0

    def test_the_end_of_input_sends_what_was_kept_first(
        self, place: Place, programs: Programs
    ) -> None:
        client = staying(place, programs)
        place.next().accept()
        place.end()
        client.stderr.wait_for(LOST)
        says(client, "kept")
        says_no_more(client)
        place.listen()
        host = place.next().accept()
        assert host.receive() == "kept"
        end_in_order(host)
        assert client.wait() == 0

    def test_with_nothing_kept_it_is_the_end(self, place: Place, programs: Programs) -> None:
        client = staying(place, programs)
        place.next().accept()
        place.end()
        client.stderr.wait_for(LOST)
        says_no_more(client)
        # 6, or 3 where it tried again before.
        assert client.wait() in (3, 6)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_meanwhile_ends_it_at_once(
        self, place: Place, programs: Programs, number: int
    ) -> None:
        client = staying(place, programs)
        place.next().accept()
        place.end()
        client.stderr.wait_for(LOST)
        client.signal(number)
        assert client.wait() == 128 + number
        assert "Traceback" not in client.stderr.text

    def test_the_time_is_that_of_all_of_it(self, place: Place, programs: Programs) -> None:
        place.end()
        client = staying(place, programs, "--timeout", "1.5")
        assert client.wait() == 7
        assert errors(client)[-1] == "timed out after 1.5 s while connecting"

    @pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden"])
    def test_a_refusal_that_stays_ends_it(
        self, place: Place, programs: Programs, status: str
    ) -> None:
        client = staying(place, programs, "-m", "unsaid")
        host = place.next()
        host.answer(status, "Content-Length: 0\r\n")
        host.end()
        assert client.wait() == 5
        said = f"{place.url} refused to open a WebSocket: {status}"
        assert errors(client) == [said, "not sent: 1 message"]

    def test_a_refusal_that_may_pass_does_not(self, place: Place, programs: Programs) -> None:
        client = staying(place, programs)
        place.next().answer("503 Service Unavailable", "Content-Length: 0\r\n")
        host = place.next().accept()
        says_no_more(client)
        end_in_order(host)
        assert client.wait() == 0
        assert "503 Service Unavailable; trying again in " in client.stderr.text

    def test_a_wrong_certificate_ends_it(self, programs: Programs, secure: Secure) -> None:
        authority = Authority(programs.folder)
        server = secure(*authority.certificate("elsewhere.example"))
        url = f"wss://localhost:{server.port}/"
        client = programs.client(url, "--reconnect", "--ca", authority.file)
        server.refused()
        assert client.wait() == 4
        assert len(client.stderr.lines) == 1


class TestPings:
    def test_a_server_that_says_nothing_is_lost(self, place: Place, programs: Programs) -> None:
        pings = ("--ping-interval", "0.3", "--ping-timeout", "0.3")
        client = programs.client(place.url, *pings, stdin=subprocess.PIPE)
        host = place.next().accept()
        assert host._frame()[0] == PING
        assert host.receive() == Closed(1011, "keepalive ping timeout")
        host.end()
        assert client.wait() == 6
        said = "wsservice.client: closed with 1011 (keepalive ping timeout)\n"
        assert client.stderr.text == said

    def test_and_left_for_another(self, place: Place, programs: Programs) -> None:
        client = staying(place, programs, "--ping-interval", "0.3", "--ping-timeout", "0.3")
        assert place.next().accept()._frame()[0] == PING
        place.next().accept()
        client.stderr.wait_for("connected again\n")
        client.signal(signal.SIGINT)


class TestPeople:
    def connected(self, place: Place) -> str:
        return f"· connected to {place.url}; /help for help, Ctrl-D closes"

    def met(self, people: People, place: Place) -> tuple[Person, Host]:
        person = people.person(place.url, "--reconnect", columns=120)
        host = place.next().accept()
        person.sees(self.connected(place), ">")
        return person, host

    def left_alone(self, person: Person, place: Place) -> None:
        """The server is gone, and that was seen."""
        place.end()
        wait_until(lambda: any("trying again in" in line for line in person.lines), "a word")

    def test_the_prompt_is_kept_and_what_is_typed_meanwhile(
        self, people: People, place: Place
    ) -> None:
        person, host = self.met(people, place)
        person.enters("one")
        assert host.receive() == "one"
        self.left_alone(person, place)
        person.enters("two", "three")
        person.types("half a li")
        kept = "· kept until there is a connection:"
        wait_until(lambda: f"{kept} three" in person.lines, "that it is kept")
        wait_until(lambda: person.lines[-1] == "> half a li", "the line that is typed")
        place.listen()
        host = place.next().accept()
        assert [host.receive(), host.receive()] == ["two", "three"]
        person.sees(self.connected(place), "> two", "> three", "> half a li")
        person.types("ne\r")
        assert host.receive() == "half a line"
        person.types("\x04")
        end_in_order(host)
        assert person.wait() == 0
        assert person.lines[-1] == "· closed with 1000"
        lost = next(line for line in person.lines if LOST in line)
        assert "1 message may have been lost; trying again in " in lost

    def test_one_need_not_wait(self, people: People, place: Place) -> None:
        person, _host = self.met(people, place)
        self.left_alone(person, place)
        place.listen()
        person.enters("/reconnect")
        place.next().accept()
        person.sees(self.connected(place), ">")

    @pytest.mark.parametrize(
        ("typed", "statuses"), [("\x03", (130,)), ("\x04", (3, 6)), ("/close\r", (3, 6))]
    )
    def test_who_leaves_meanwhile_does_not_wait(
        self, people: People, place: Place, typed: str, statuses: tuple[int, ...]
    ) -> None:
        person, _host = self.met(people, place)
        self.left_alone(person, place)
        person.enters("kept")
        wait_until(lambda: person.lines[-2].endswith(": kept"), "that it is kept")
        person.types(typed)
        assert person.wait() in statuses
        assert person.lines[-1] == "· not sent: 1 message"
