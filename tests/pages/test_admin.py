"""The operator's page, in a browser, with what only a face of a test's own shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import ENTER, ESCAPE, LEFT, NARROW, TAB, WIDE, Browser
from .contrast import poor_contrasts
from .operator import Operator, cluster, connection, frame, node, unread

STATE = "#state"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e</td><script>1</script>"
SHOWN = HOSTILE.replace("\u202e", "⟨U+202E⟩")
NEVER = "\u2013"


@pytest.fixture
def operator() -> Iterator[Operator]:
    served = Operator()
    yield served
    served.end()


@pytest.fixture
def page(browser: Browser, operator: Operator) -> Iterator[Browser]:
    yield browser
    browser.open("about:blank")


def opened(page: Browser, operator: Operator) -> Browser:
    page.open(operator.url)
    all_shown(page)
    return page


def all_shown(page: Browser) -> None:
    """Wait until all that the page asks for at once is shown, not only that it is ready."""
    page.wait(lambda: page.text("#asked"), "all answers")
    assert page.text(STATE) == "Ready"


def ids(page: Browser) -> list[str]:
    return page.texts("#rows td:first-child")


def button(row: int, name: str) -> str:
    return f"#rows tr:nth-child({row}) button[aria-label^={name}]"


def seconds_later(page: Browser) -> None:
    """Wait until the page has asked once more."""
    asked = page.text("#asked")
    page.wait(lambda: page.text("#asked") != asked, "a later answer")


def test_what_the_service_does_is_seen(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    assert page.text("#total") == "3"
    assert ids(page) == ["1", "2", "3"]
    cells = page.texts("#rows tr:nth-child(2) td:not(.of-user)")
    assert cells[1:3] == ["192.0.2.2:40002", "(none)"]
    assert cells[4:8] == ["34, 2,468", "3.4 kB, 247 kB", "0 B", "25 ms"]
    names = page.texts(".chart h2")
    assert names[:3] == ["Connections", "Messages", "Traffic"]
    page.wait(lambda: "/s in" in page.texts(".chart")[1], "a rate")
    labels = page.run("return [...document.querySelectorAll('svg')].map((e) => e.ariaLabel)")
    assert labels[0] == "Connections: open 3"
    assert "handshake 9.9 ms, publish 2.5 ms, reactor lag 25 ms" in labels[3]
    drawn = page.run("return document.querySelectorAll('.plot path[d^=M]').length")
    assert drawn >= 10


def test_a_moment_is_read_off_a_chart(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    seconds_later(page)
    operator.connections = operator.connections[:1]
    page.wait(lambda: "1 open" in page.texts(".chart")[0], "one left")
    page.run("document.querySelector('.plot').focus()")
    for _ in range(8):
        page.press(LEFT)
    page.wait(lambda: "3 open" in page.texts(".chart")[0], "those before")
    assert page.texts(".ends span:last-child")[0].endswith(" s ago")
    page.press(ESCAPE)
    page.wait(lambda: "1 open" in page.texts(".chart")[0], "those of now")
    assert page.texts(".ends span:last-child")[0] == "now"
    page.hover(".plot", 0.5)
    page.wait(lambda: "3 open" in page.texts(".chart")[0], "those before, by the pointer")
    page.hover("h1", 0.5)
    page.wait(lambda: "1 open" in page.texts(".chart")[0], "those of now again")


def test_it_is_told_why_it_is_not_ready(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    operator.reasons = ["draining", HOSTILE]
    page.wait_for(STATE, f"Not ready: draining, {SHOWN}")
    assert page.driver.title == "Operator"
    assert page.complaints()


def test_text_of_peers_is_text(page: Browser, operator: Operator) -> None:
    operator.connections = [connection(7, channel=HOSTILE, user_agent=HOSTILE, peer=HOSTILE)]
    operator.trace = [frame(HOSTILE)]
    opened(page, operator)
    assert page.texts("#rows td:not(.of-user)")[1:3] == [SHOWN, SHOWN]
    page.click(button(1, "Close"))
    assert page.text("#closing-peer") == SHOWN
    page.press(ESCAPE)
    page.click(button(1, "Trace"))
    page.wait_for("#trace-rows", SHOWN)
    assert page.run("return document.querySelectorAll('main :is(img, script)').length") == 0
    assert page.driver.title == "Operator"


def test_many_connections_are_shown_in_pages(page: Browser, operator: Operator) -> None:
    operator.connections = [connection(each) for each in range(1, 61)]
    opened(page, operator)
    assert page.text("#total") == "25 of 60"
    assert not page.find("#previous").is_enabled()
    page.click("#next")
    page.wait(lambda: ids(page)[:1] == ["26"], "the second page")
    page.click("#next")
    page.wait(lambda: ids(page) == [str(each) for each in range(51, 61)], "the last page")
    assert not page.find("#next").is_enabled()
    seconds_later(page)
    assert ids(page)[0] == "51"
    page.click("#previous")
    page.wait(lambda: ids(page)[:1] == ["26"], "the second page again")
    operator.connections = operator.connections[:3]
    page.wait(lambda: ids(page) == ["1", "2", "3"], "the first page, since all others left")


class TestUsers:
    def test_where_nobody_has_one_nothing_of_them_is_seen(
        self, page: Browser, operator: Operator
    ) -> None:
        opened(page, operator)
        assert not page.find("#filter").is_displayed()
        assert not page.find("th.of-user").is_displayed()
        assert not page.find("#rows .of-user").is_displayed()

    def test_one_is_shown_alone(self, page: Browser, operator: Operator) -> None:
        users = ("tom", "a/b &?#é", None)
        operator.connections = [
            connection(each, **({"user": user} if (user := users[each % 3]) else {}))
            for each in range(1, 91)
        ]
        opened(page, operator)
        assert page.text("#total") == "25 of 90"
        assert page.texts("#rows .of-user")[:3] == ["a/b &?#é", NEVER, "tom"]
        page.click("#next")
        page.wait(lambda: ids(page)[:1] == ["26"], "the second page")
        page.fill("#user", "a/b &?#é")
        page.press(ENTER)
        page.wait(lambda: page.text("#total") == "25 of 30", "those of one user")
        assert set(page.texts("#rows .of-user")) == {"a/b &?#é"}
        page.click("#next")
        page.wait(lambda: page.text("#total") == "5 of 30", "the rest of them")
        page.fill("#user", "nobody")
        page.press(ENTER)
        page.wait_for("#nobody", "This user has no connection.")
        assert page.text("#total") == "0"
        page.fill("#user", "é" * 128)
        page.press(ENTER)
        page.wait_for("#connections-problem", "A user's id has at most 255 octets of UTF-8.")
        page.fill("#user", "")
        page.press(ENTER)
        page.wait(lambda: page.text("#total") == "25 of 90", "all")

    def test_an_id_is_text(self, page: Browser, operator: Operator) -> None:
        operator.connections = [connection(7, user=HOSTILE)]
        opened(page, operator)
        assert page.texts("#rows .of-user") == [SHOWN]
        assert page.run("return document.querySelectorAll('main :is(img, script)').length") == 0
        assert page.driver.title == "Operator"

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
    def test_they_fit_and_can_be_read(
        self,
        page: Browser,
        operator: Operator,
        tmp_path: Path,
        size: tuple[int, int],
        scheme: str,
    ) -> None:
        operator.connections = [
            connection(1, user="u" * 255),
            connection(2, user="tom"),
            connection(3, user="ann.longer-name@example.org", channel="y" * 300),
            connection(4),
        ]
        opened(page.look(size, scheme), operator)
        assert page.find("#filter").is_displayed()
        assert page.run("return document.documentElement.scrollWidth") <= size[0]
        assert poor_contrasts(page) == []
        page.fill("#user", "tom")
        page.press(ENTER)
        page.wait(lambda: page.text("#total") == "1", "one")
        page.picture(tmp_path / "users.png")
        assert (tmp_path / "users.png").stat().st_size > 10_000

    @pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
    def test_they_are_for_tokens_with_the_right_to_read(
        self, page: Browser, operator: Operator, size: tuple[int, int]
    ) -> None:
        operator.connections = [connection(1, user="tom"), connection(2, user="ann")]
        operator.token, operator.rights = "shop", ["publish"]
        opened(page.look(size), operator)
        assert page.text("#caller") == "shop: publish"
        assert not page.find("#filter").is_displayed()
        assert page.texts("#rows tr") == []
        operator.rights = ["read"]
        page.wait(lambda: page.find("#filter").is_displayed(), "the right of a reload")
        assert page.texts("#rows .of-user") == ["tom", "ann"]
        page.fill("#user", "ann")
        page.press(ENTER)
        page.wait(lambda: ids(page) == ["2"], "those of one user")
        assert page.find(button(1, "Trace")).is_displayed()
        assert not page.find(button(1, "Close")).is_displayed()
        assert page.run("return document.documentElement.scrollWidth") <= size[0]
        operator.rights = ["publish", "close"]
        page.wait(lambda: page.find("#barred").is_displayed(), "the right to go")
        assert "ann" not in page.text("body")
        for each in ("#filter", "#connections", "#rows .of-user", button(1, "Close")):
            assert not page.find(each).is_displayed()
        operator.rights = ["read", "close"]
        page.wait(lambda: page.find(button(1, "Close")).is_displayed(), "both rights")
        assert ids(page) == ["2"]  # the filter is as it was


def test_rows_stay_under_the_focus(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    page.run("document.querySelector(arguments[0]).focus()", button(2, "Trace"))
    operator.connections = [*operator.connections[1:], connection(9)]
    page.wait(lambda: ids(page) == ["2", "3", "9"], "one left and one came")
    focused = "return document.activeElement.ariaLabel || document.activeElement.id"
    assert page.run(focused) == "Trace connection 2"
    operator.connections = []
    page.wait(lambda: ids(page) == [], "nobody")
    assert page.text("#nobody") == "Nobody is connected."
    assert page.run(focused) == "connections-title"


def test_what_a_token_may_not_do_is_not_offered(page: Browser, operator: Operator) -> None:
    operator.token, operator.rights = "grafana", ["read"]
    opened(page, operator)
    assert page.text("#caller") == "grafana: read"
    assert page.find(button(1, "Trace")).is_displayed()
    assert not page.find(button(1, "Close")).is_displayed()
    operator.rights = ["read", "close"]
    page.wait(lambda: page.find(button(1, "Close")).is_displayed(), "the right of a reload")
    operator.rights = ["publish"]
    page.wait(lambda: page.find("#barred").is_displayed(), "a token that may not read")
    assert page.text("#barred") == (
        "The token grafana has no right to read, so there is nothing to show."
    )
    assert not page.find("#charts").is_displayed()
    assert not page.find("#connections-title").is_displayed()
    assert page.text(STATE) == "Ready"
    before = len(operator.asked)
    seconds_later(page)
    assert {"/token", "/readyz"} == set(operator.asked[before:])
    operator.rights = ["read"]
    page.wait(lambda: page.find("#charts").is_displayed(), "the right of another reload")


def test_without_tokens_there_is_no_name(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    assert page.text("#caller") == ""
    assert page.find(button(1, "Close")).is_displayed()


def test_a_trace_of_a_flood_does_not_freeze_it(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    operator.flood = True
    page.click(button(1, "Trace"))
    count = "return document.querySelectorAll('#trace-rows li').length"
    page.wait(lambda: page.run(count) == 500, "as many frames as are kept")
    latest = page.text("#trace-rows li:last-child")
    page.wait(lambda: page.text("#trace-rows li:last-child") != latest, "newer ones")
    assert page.run(count) == 500
    page.click(button(2, "Trace"))
    page.wait_for("#trace-title", "Trace of connection 2")
    operator.flood = False
    page.wait_for("#trace-state", "ended")


def test_a_service_that_fails_or_is_gone_is_told(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    operator.failing = 500
    page.wait_for(STATE, "broken ⟨U+202E⟩ <b>")
    operator.failing = 0
    page.wait_for(STATE, "Ready")
    operator.gone = True
    page.wait_for(STATE, "No answer")
    assert page.complaints()


def cells(page: Browser, row: int) -> list[str]:
    return page.texts(f"#node-rows tr:nth-child({row}) td")


class TestNodes:
    def test_one_alone_is_not_shown(self, page: Browser, operator: Operator) -> None:
        opened(page, operator)
        assert not page.find("#nodes").is_displayed()
        assert not [each for each in operator.asked if "cluster" in each]
        operator.cluster = cluster(node("a"))
        seconds_later(page)
        assert not page.find("#nodes").is_displayed()

    def test_several_are(self, page: Browser, operator: Operator) -> None:
        draining = node("b", reasons=["draining"], rtt=0.5, connections=0, lag=1.25)
        silent = node("c", up=False, rtt=None)
        operator.cluster = cluster(node("a", rtt=None), draining, silent, unread("d"))
        opened(page, operator)
        page.wait_for("#nodes-total", "2 of 4 answer")
        own = ["a, here", "a.example, 4711", "Up", "2 h", "1,234", "12 ms", NEVER]
        assert cells(page, 1) == [*own, "0.1.0", "Redis 7.0.15"]
        assert cells(page, 2)[2:7] == ["Not ready: draining", "2 h", "0", "1.3 s", "500 ms"]
        assert cells(page, 3)[2] == "No answer"
        assert cells(page, 4) == ["d", NEVER, "No answer", *[NEVER] * 6]
        assert page.text("#total") == "3, without 2 nodes"
        operator.cluster = cluster(node("a"), node("b"))
        page.wait_for("#nodes-total", "2 of 2 answer")
        assert page.text("#total") == "3"

    def test_workers_that_did_not_answer_are_counted(
        self, page: Browser, operator: Operator
    ) -> None:
        operator.silent = ["worker 2"]
        opened(page, operator)
        page.wait_for("#total", "3, without one worker")
        assert not [each for each in operator.asked if "cluster" in each]
        operator.cluster = cluster(node("a"), node("b", up=False))
        operator.silent = ["a worker 1", "a worker 2"]
        page.wait_for("#total", "3, without one node and 2 workers")

    def test_a_broker_that_is_away_is_told(self, page: Browser, operator: Operator) -> None:
        away = {"name": "x", "up": False, "version": "", "problem": f"refused {HOSTILE}"}
        own = node("a", brokers=[away])
        operator.cluster = cluster(own, problem=f"it is of no help {HOSTILE}")
        opened(page, operator)
        page.wait_for("#nodes-problem", f"Others cannot be asked: it is of no help {SHOWN}")
        assert cells(page, 1)[8] == f"refused {SHOWN}"

    def test_what_a_node_says_is_text(self, page: Browser, operator: Operator) -> None:
        hostile = node(HOSTILE, host=HOSTILE, version=HOSTILE, reasons=[HOSTILE], started=HOSTILE)
        operator.cluster = cluster(node("a"), hostile)
        operator.connections = [connection(7, id=f"{HOSTILE}.7")]
        opened(page, operator)
        page.wait(lambda: cells(page, 2), "the node")
        assert cells(page, 2)[:3] == [SHOWN, f"{SHOWN}, 4711", f"Not ready: {SHOWN}"]
        assert ids(page) == [f"{SHOWN}.7"]
        assert page.run("return document.querySelectorAll('main :is(img, script)').length") == 0
        assert page.driver.title == "Operator"

    def test_a_connection_of_another_is_closed_and_not_traced(
        self, page: Browser, operator: Operator
    ) -> None:
        operator.cluster = cluster(node("a"), node("b"))
        operator.connections = [connection(7, id="b.7")]
        opened(page, operator)
        page.click(button(1, "Trace"))
        wanted = "There is no trace: it is traced by its own node alone"
        page.wait_for("#trace-state", wanted)
        page.click(button(1, "Close"))
        page.press(ENTER)
        page.wait_for("#done", "Connection b.7 was told to close with 1000.")
        assert page.console  # the browser's own word of the 421

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
    def test_they_fit_and_can_be_read(
        self, page: Browser, operator: Operator, tmp_path: Path, size: tuple[int, int], scheme: str
    ) -> None:
        names = ["0123456789abcdef", "fedcba9876543210", "0f1e2d3c4b5a6978"]
        long = node(names[1], host="y" * 250, reasons=["z" * 250], version="0.1.0.dev1")
        silent = node(names[2], up=False, rtt=None)
        operator.cluster = cluster(node(names[0], rtt=None), long, silent, problem="x" * 300)
        operator.connections = [connection(each, id=f"{names[1]}.{each}") for each in range(1, 5)]
        opened(page.look(size, scheme), operator)
        page.wait(lambda: cells(page, 3), "the nodes")
        assert page.run("return document.documentElement.scrollWidth") <= size[0]
        assert poor_contrasts(page) == []
        page.run("document.getElementById('nodes').scrollIntoView()")
        page.picture(tmp_path / "nodes.png")
        assert (tmp_path / "nodes.png").stat().st_size > 10_000


def test_pausing(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    page.click("#pause")
    page.wait(lambda: page.text("#pause") == "Go on", "the pause")
    asked = len(operator.asked)
    page.run("return new Promise((done) => setTimeout(done, 2500))")
    assert len(operator.asked) <= asked + 3  # what was under way
    page.click("#pause")
    page.wait(lambda: len(operator.asked) > asked + 3, "more questions")


def test_it_is_used_by_keyboard_alone(page: Browser, operator: Operator) -> None:
    opened(page, operator)
    name = "return document.activeElement.ariaLabel || document.activeElement.id"
    seen = []
    for _ in range(10):
        page.press(TAB)
        seen.append(page.run(name))
    assert seen[0] == "pause"
    assert seen[-2:] == ["Trace connection 1", "Close connection 1"]
    page.press(ENTER)
    assert page.focus == "closing-go"
    page.press(ENTER)
    page.wait_for("#done", "Connection 1 was told to close with 1000.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_fits_and_can_be_read(
    page: Browser, operator: Operator, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    long: Any = {"user_agent": "x" * 300, "channel": "y" * 300, "peer": "[2001:db8::1]:65535"}
    operator.connections = [connection(each, **long) for each in range(10**9, 10**9 + 9)]
    operator.trace = [frame("z" * 4000)]
    opened(page.look(size, scheme), operator)
    page.click(button(1, "Trace"))
    page.wait_for("#trace-rows", "zzz")
    page.wait(lambda: "/s in" in page.texts(".chart")[1], "a rate")
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    assert poor_contrasts(page) == []
    page.click(button(1, "Close"))
    assert poor_contrasts(page) == []
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
