"""The operator's page on a real admin face, of a service with real connections."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsservice.auth.tokens import line_of

from ..integration.conftest import Connect
from ..integration.processes import Program, Programs
from ..integration.redis import Redises
from ..integration.test_admin import LOOPBACK, admin_of
from ..integration.test_cluster import meet
from ..integration.wire import Wire
from .browser import ENTER, NARROW, WIDE, Browser
from .contrast import poor_contrasts
from .test_admin import HOSTILE, SHOWN, STATE, all_shown, button, ids

TOKEN = "correct-horse-battery"


class Served:
    """A service, its page, and who is connected."""

    def __init__(self, program: Program, page: Browser, connect: Connect) -> None:
        self.program = program
        self.page = page
        self._connect = connect
        self.admin = admin_of(program)
        self.url = f"http://127.0.0.1:{self.admin.place}/"

    def connect(self, path: str = "/websockets/") -> Wire:
        return self._connect(self.program.port, path=path)

    def open(self) -> Browser:
        self.page.open(self.url)
        all_shown(self.page)
        return self.page


Serve = Callable[..., Served]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """As in `integration`."""
    wires: list[Wire] = []

    def connect(port: int | str, host: str = "127.0.0.1", path: str = "/websockets/") -> Wire:
        wires.append(Wire(port, host, path))
        return wires[-1].upgrade(headers="User-Agent: Wire/1.0 (a test)\r\n")

    yield connect
    for wire in wires:
        wire.end()


@pytest.fixture
def serve(programs: Programs, browser: Browser, connect: Connect) -> Iterator[Serve]:
    """A service with these options, and its page, which is not opened yet."""

    def serve(*options: str | Path) -> Served:
        program = programs.twistd(
            *("--port", "0", "--protocol", "echo", "--admin", LOOPBACK), *options
        )
        return Served(program, browser, connect)

    yield serve
    browser.open("about:blank")


def test_live_figures(serve: Serve) -> None:
    served = serve()
    client = served.connect("/chat/general")
    served.connect()
    page = served.open()
    assert page.text("#total") == "2"
    assert ids(page) == ["1", "2"]
    page.wait(lambda: "2 open" in page.texts(".chart")[0], "the connections")
    cells = page.texts("#rows tr:nth-child(1) td")
    assert cells[1].startswith("127.0.0.1:")
    # The third cell, of a user, is hidden while nobody has one.
    assert cells[3] == "chat/general"
    assert cells[5] == "0, 0"
    assert cells[9] == "Wire/1.0 (a test)"
    for number in range(500):
        client.send(f"message {number}")
        client.receive()
    page.wait(lambda: page.texts("#rows tr:nth-child(1) td")[5] == "500, 500", "the messages")
    page.wait(lambda: "/s in" in page.texts(".chart")[1], "a rate")
    page.wait(lambda: "handshake" in page.texts(".chart")[3], "latencies")
    client.close()
    page.wait(lambda: ids(page) == ["2"], "one less")
    page.wait(lambda: "1 open" in page.texts(".chart")[0], "one less in the chart")


def test_the_nodes_of_a_cluster(
    programs: Programs, redises: Redises, browser: Browser, connect: Connect
) -> None:
    here, other = meet(programs, redises.start(), (), ())
    served = Served(here.program, browser, connect)
    there = connect(other.port, path="/far")
    page = served.open()
    page.wait_for("#nodes-total", "2 of 2 answer")
    page.wait(lambda: ids(page) == [f"{other.name}.1"], "its connection")
    names = page.texts("#node-rows td:first-child")
    assert names == sorted([f"{here.name}, here", other.name])
    assert page.texts("#node-rows td:nth-child(3)") == ["Up", "Up"]
    page.click(button(1, "Trace"))
    page.wait_for("#trace-state", f"traced by its own node alone: ask {other.name}, on ")
    page.click(button(1, "Close"))
    page.click("#closing-go")
    page.wait_for("#done", f"Connection {other.name}.1 was told")
    assert there.answer_close().code == 1000
    other.program.signal(signal.SIGKILL)
    page.wait_for("#nodes-total", "1 of 2 answer")
    page.wait_for("#total", "0, without one node")
    page.wait(lambda: not page.find("#nodes").is_displayed(), "it to be forgotten")
    page.open("about:blank")
    assert all("421" in each for each in page.console)


def test_nobody_and_then_many(serve: Serve) -> None:
    served = serve()
    page = served.open()
    assert page.text("#nobody") == "Nobody is connected."
    for _ in range(30):
        served.connect()
    page.wait(lambda: page.text("#total") == "25 of 30", "the first page")
    page.click("#next")
    page.wait(lambda: ids(page) == [str(each) for each in range(26, 31)], "the second page")
    assert not page.find("#next").is_enabled()
    page.click("#previous")
    page.wait(lambda: ids(page)[0] == "1", "the first page again")


def test_one_is_closed(serve: Serve) -> None:
    served = serve()
    client, other = served.connect(), served.connect()
    page = served.open()
    page.click(button(1, "Close"))
    assert page.text("#closing-title") == "Close connection 1"
    assert page.text("#closing-peer").startswith("127.0.0.1:")
    for wrong in ("", "999", "5000", "1e3"):
        page.fill("#code", wrong)
        page.press(ENTER)
        page.wait_for("#closing-problem", "four digits")
        assert page.focus == "code"
    page.fill("#code", "1006")
    page.press(ENTER)
    page.wait_for("#closing-problem", "It was not closed: code cannot be sent; give 1000")
    page.fill("#code", "4001")
    page.fill("#reason", "enough of \u00e4")
    page.press(ENTER)
    page.wait_for("#done", "Connection 1 was told to close with 4001.")
    said = client.answer_close()
    assert (said.code, said.reason) == (4001, "enough of \u00e4")
    page.wait(lambda: ids(page) == ["2"], "one less")
    assert not page.find("#closing").is_displayed()
    other.send("still here")
    assert other.receive() == "still here"
    assert all("400" in each for each in page.console)


def test_one_that_left_cannot_be_closed(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    page = served.open()
    page.click("#pause")
    page.click(button(1, "Close"))
    client.close()
    page.wait(lambda: not served.admin.connections(), "its end")
    page.click("#closing-go")
    page.wait_for("#closing-problem", "It was not closed: there is no connection 1")
    page.click("#closing-cancel")
    assert not page.find("#closing").is_displayed()
    assert all("404" in each for each in page.console)


def test_a_trace(serve: Serve) -> None:
    served = serve("--ping-interval", "0")
    client = served.connect()
    page = served.open()
    page.click(button(1, "Trace"))
    assert page.focus == "trace-title"
    page.wait(lambda: served.admin.value("wsservice_traces") == 1, "the trace")
    client.send(HOSTILE)
    client.receive()
    client.send(bytes(range(4)))
    client.receive()
    client.send_frame(9, b"are you there")
    page.wait_for("#trace-rows", "pong")
    client.socket.sendall(b"\x02\x80" + bytes(4))
    client.send_frame(0, bytes(300))
    client.receive()
    page.wait_for_last(
        "#trace-rows .payload",
        f"{SHOWN}\ntext, {len(HOSTILE.encode())} octets",
        f"{SHOWN}\ntext, {len(HOSTILE.encode())} octets",
        "00010203\nbinary, 4 octets",
        "00010203\nbinary, 4 octets",
        "are you there\nping, 13 octets",
        "are you there\npong, 13 octets",
        "binary, 0 octets, not final",
        f"{'00' * 256}\ncontinuation, 300 octets, cut here",
        f"{'00' * 256}\nbinary, 300 octets, cut here",
    )
    assert page.texts("#trace-rows .what")[:6] == ["Received", "Sent"] * 3
    assert page.run("return document.querySelectorAll('main :is(img, script)').length") == 0
    assert page.driver.title == "Operator"
    client.close(4000)
    page.wait_for("#trace-state", "The connection has ended with 4000.")
    assert page.texts("#trace-rows .what")[-2:] == ["Received", "Sent"]
    page.click("#trace-end")
    assert not page.find("#trace").is_displayed()


def test_a_trace_that_is_ended_here_is_ended_there(serve: Serve) -> None:
    served = serve()
    served.connect()
    page = served.open()
    page.click(button(1, "Trace"))
    page.wait(lambda: served.admin.value("wsservice_traces") == 1, "the trace")
    page.click("#trace-end")
    page.wait(lambda: served.admin.value("wsservice_traces") == 0, "its end")


def test_a_token(serve: Serve, programs: Programs) -> None:
    file = programs.folder / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    served = serve("--admin-token-file", file)
    client = served.connect()
    page = served.page
    page.open(served.url)
    page.wait_for(STATE, "Locked")
    assert page.focus == "token"
    assert page.find("#token").get_attribute("type") == "password"
    for wrong, problem in [("two words", "no spaces"), ("guess", "That is not the token.")]:
        page.fill("#token", wrong)
        page.press(ENTER)
        page.wait_for("#unlock-problem", problem)
    page.fill("#token", TOKEN)
    page.press(ENTER)
    page.wait_for(STATE, "Ready")
    assert not page.find("#unlock").is_displayed()
    assert page.find("#token").get_attribute("value") == ""
    page.open(served.url)  # it is kept as long as the tab is there
    all_shown(page)
    page.click(button(1, "Trace"))
    page.wait_for("#trace-state", "Frames appear here")
    page.wait(lambda: traces(served.url) == 1, "the trace")
    client.send("hello")
    page.wait_for("#trace-rows", "hello")
    page.click(button(1, "Close"))
    page.click("#closing-go")
    page.wait_for("#done", "Connection 1 was told")
    assert client.receive() == "hello"
    assert client.answer_close().code == 1000
    page.click("#forget")
    page.wait_for(STATE, "Locked")
    assert page.texts("#rows tr") == []
    assert page.run("return sessionStorage.length + localStorage.length") == 0
    assert all("401" in each for each in page.console)


def test_with_a_token_of_few_rights_it_offers_what_that_may(
    serve: Serve, programs: Programs
) -> None:
    file = programs.folder / "tokens"
    file.write_text("grafana read 0123456789abcdef\nshop publish fedcba9876543210\n")
    file.chmod(0o600)
    served = serve("--admin-token-file", file)
    client = served.connect()
    page = served.page
    page.open(served.url)
    page.wait_for(STATE, "Locked")
    page.fill("#token", "fedcba9876543210")
    page.press(ENTER)
    page.wait_for("#barred", "The token shop has no right to read")
    assert not page.find("#charts").is_displayed()
    page.click("#forget")
    page.wait_for(STATE, "Locked")
    page.fill("#token", "0123456789abcdef")
    page.press(ENTER)
    page.wait_for("#caller", "grafana: read")
    page.wait_for(STATE, "Ready")
    page.click(button(1, "Trace"))
    page.wait_for("#trace-state", "Frames appear here")
    assert not page.find(button(1, "Close")).is_displayed()
    # A right that goes while the page is open: the button is there, and the answer says why.
    file.write_text("grafana read,close 0123456789abcdef\n")
    served.program.signal(signal.SIGHUP)
    page.wait(lambda: page.find(button(1, "Close")).is_displayed(), "the right to close")
    page.click(button(1, "Close"))
    file.write_text("grafana read 0123456789abcdef\n")
    served.program.signal(signal.SIGHUP)
    page.wait_for("#caller", "grafana: read")
    page.wait(lambda: page.text("#caller") == "grafana: read", "the rights of before")
    page.click("#closing-go")
    page.wait_for("#closing-problem", "It was not closed: the token grafana has no right to close")
    client.send("still here")
    assert client.receive() == "still here"
    assert page.wait_for_complaints(2)  # one 401, and one 403


def test_users_and_a_token_of_few_rights(serve: Serve, programs: Programs) -> None:
    people = dict(line_of(each)[::-1] for each in ("tom", "ann"))
    users, admins = programs.folder / "users", programs.folder / "admins"
    users.write_text("".join(f"{each}\n" for each in people))
    admins.write_text("grafana read 0123456789abcdef\ndesk read,close fedcba9876543210\n")
    for each in (users, admins):
        each.chmod(0o600)
    served = serve("--auth", f"tokens:{users}", "--admin-token-file", admins)
    tom, ann = (served.connect(f"/x?access_token={each}") for each in people.values())
    page = served.page
    for token, may_close in (("0123456789abcdef", False), ("fedcba9876543210", True)):
        page.open(served.url)
        page.wait_for(STATE, "Locked")
        assert not page.find("#filter").is_displayed()
        page.fill("#token", token)
        page.press(ENTER)
        all_shown(page)
        assert page.texts("#rows .of-user") == ["tom", "ann"]
        page.fill("#user", "ann")
        page.press(ENTER)
        page.wait(lambda: ids(page) == ["2"], "those of one user")
        assert page.find(button(1, "Close")).is_displayed() is may_close
        if not may_close:
            page.click("#forget")
    page.click(button(1, "Close"))
    page.click("#closing-go")
    page.wait_for("#done", "Connection 2 was told")
    assert ann.answer_close().code == 1000
    page.wait_for("#nobody", "This user has no connection.")
    tom.send("still here")
    assert tom.receive() == "still here"
    assert all("401" in each for each in page.console)


def traces(url: str) -> int:
    request = urllib.request.Request(f"{url}metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        return int(b"wsservice_traces 1.0" in answer.read())


def test_it_says_why_the_service_is_not_ready(serve: Serve) -> None:
    served = serve("--max-connections", "1", "--drain", "30")
    client = served.connect()
    page = served.page
    page.open(served.url)
    page.wait_for(STATE, "Not ready: no room for more connections")
    served.program.signal(15)
    page.wait_for(STATE, "Not ready: draining")
    assert client.answer_close().code == 1001
    page.wait_for(STATE, "No answer")
    assert page.complaints()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_fits_and_can_be_read(
    serve: Serve, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    served = serve()
    clients = [served.connect(f"/{name}") for name in ("chat/general", "news", "", "y" * 255)]
    page = served.page.look(size, scheme)
    served.open()
    page.click(button(1, "Trace"))
    page.wait(lambda: served.admin.value("wsservice_traces") == 1, "the trace")
    for client in clients:
        client.send(f'{{"said": "h\u00e4llo", "more": "{"z" * 200}"}}')
        client.receive()
    clients[0].send(bytes(2000))
    clients[0].receive()
    page.wait_for("#trace-rows", "h\u00e4llo")
    asked: Any = page.text("#asked")
    page.wait(lambda: page.text("#asked") != asked, "a later answer")
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    assert poor_contrasts(page) == []
    for name, place in (("trace", 10_000), ("charts", 0)):
        page.run(f"scrollTo(0, {place})")
        page.picture(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
