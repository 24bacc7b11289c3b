"""The page at the public port, in a browser: what is clicked, typed and seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ..integration.processes import Programs
from .browser import ENTER, NARROW, SHIFT_ENTER, TAB, WIDE, Browser
from .contrast import poor_contrasts

BEHAVIOURS = r"""
from twisted.internet.task import LoopingCall

from wsservice import ServerProtocol


class Subprotocols(ServerProtocol):
    def onConnect(self, request):
        return request.protocols[-1] if request.protocols else None

    def onOpen(self):
        self.sendMessage(self.http_request_path.encode())


class Said(ServerProtocol):
    def onMessage(self, payload, isBinary):
        kind, _, rest = payload.decode().partition(" ")
        if kind == "binary":
            self.sendMessage(bytes(int(rest)), True)
        elif kind == "text":
            self.sendMessage(b"x" * int(rest))
        elif kind == "escapes":
            self.sendMessage(b"a\x01" * int(rest))
        elif kind == "close":
            self.sendClose(4000, rest)
        elif kind == "end":
            self.transport.abortConnection()


class Flood(ServerProtocol):
    def onOpen(self):
        self.count = 0
        self.flood = LoopingCall(self.burst)
        self.flood.start(0.01)

    def burst(self):
        for _ in range(100):
            self.count += 1
            self.sendMessage(b"message %d\x01" % self.count)

    def onClose(self, wasClean, code, reason):
        self.flood.stop()
"""

Served = Callable[..., Browser]
STATE = "#state"
ROWS = "#conversation li"
PAYLOADS = "#conversation .payload"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "</script><svg onload=document.title='owned'>",
    "javascript:document.title='owned'",
    "&lt;b&gt; ${document.title} {{style}}",
)


@pytest.fixture
def served(programs: Programs, browser: Browser) -> Served:
    """The page of a service with these options, opened in the browser."""
    (programs.folder / "said.py").write_text(BEHAVIOURS)

    def served(*options: str) -> Browser:
        port = programs.twistd("--port", "0", *options).port
        return browser.open(f"http://127.0.0.1:{port}/")

    return served


def connected(page: Browser) -> Browser:
    page.click("#connect")
    page.wait_for(STATE, "Connected")
    return page


def say(page: Browser, text: str) -> None:
    """Put a text in the field, as pasting does, and press Enter there."""
    page.run("arguments[0].value = arguments[1]", page.find("#message"), text)
    page.find("#message").send_keys(ENTER)


def test_the_tutorials_conversation(served: Served) -> None:
    page = served()
    assert page.text(STATE) == "Not connected"
    assert not page.find("#send").is_enabled()
    connected(page)
    page.wait_for(ROWS, "Hello from server")
    page.fill("#message", "Msg from client")
    page.click("#send")
    page.wait_for(ROWS, "Msg from client")
    directions = page.texts("#conversation .what")
    assert directions == ["Connecting", "Connected", "Received", "Sent"]
    for time in page.texts("#conversation time"):
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time)
    assert page.text("#counts") == "1 received, 1 sent"
    page.click("#clear")
    assert page.texts(ROWS) == []
    assert page.text("#counts") == "No messages yet"


def test_it_is_used_by_keyboard_alone(served: Served) -> None:
    page = served("--protocol", "echo")
    assert page.focus == "path"
    page.press("there")
    page.press(ENTER)
    page.wait_for(STATE, "Connected")
    page.wait_for(ROWS, "/there")
    assert page.focus == "message"
    page.press("one")
    page.find("#message").send_keys(SHIFT_ENTER)
    page.press("two", ENTER)
    page.wait_for_last(PAYLOADS, *["one⏎\ntwo"] * 2)
    page.press(TAB)
    assert page.focus == "kind"
    page.press(TAB, TAB)
    assert page.focus == "code"
    page.press(TAB, "goodbye", ENTER)
    page.wait_for(STATE, "Closed: 1000, goodbye")
    page.run("document.activeElement.blur()")
    seen = []
    for _ in range(10):
        page.press(TAB)
        seen.append(page.focus)
    assert [each for each in seen if each] == [
        *("path", "subprotocols", "connect", "clear", "scroll", "message", "kind", "code"),
    ]


def test_path_and_subprotocols(served: Served) -> None:
    page = served("--protocol", "said.Subprotocols")
    page.fill("#path", "a room/ä?b=c")
    page.fill("#subprotocols", "one, two")
    connected(page)
    page.wait_for(ROWS, "subprotocol two")
    page.wait_for(ROWS, "/a%20room/%C3%A4")
    assert page.find("#path").get_attribute("value") == "/a room/ä?b=c"


def test_what_cannot_be_is_said_at_the_field(served: Served) -> None:
    page = served()
    page.fill("#subprotocols", "one, one")
    page.click("#connect")
    assert "each once" in page.text("#connection-problem")
    assert page.focus == "subprotocols"
    page.fill("#subprotocols", "")
    page.fill("#path", "/a#b")
    page.click("#connect")
    assert "%23" in page.text("#connection-problem")
    assert page.find("#path").get_attribute("aria-invalid") == "true"
    page.fill("#path", "/")
    connected(page)
    assert page.text("#connection-problem") == ""
    page.run("document.getElementById('kind').value = 'binary'")
    for wrong in ("4", "4g", "hello"):
        say(page, wrong)
        assert "pairs" in page.text("#message-problem")
        assert page.find("#message").get_attribute("value") == wrong
    for code in ("1001", "2999", "5000", "", "1e3"):
        page.fill("#code", code)
        page.click("#close")
        assert "3000 to 4999" in page.text("#closing-problem")
    page.fill("#code", "3000")
    page.run("document.getElementById('reason').value = 'ä'.repeat(62)")
    page.click("#close")
    assert "123 octets" in page.text("#closing-problem")
    assert page.text(STATE) == "Connected"


def test_octets_are_sent_and_shown_in_hexadecimal(served: Served) -> None:
    page = connected(served("--protocol", "echo"))
    page.run("document.getElementById('kind').value = 'binary'")
    for text in ("00 ff 48:65", "0x00 0xFF4865", "00ff,4865"):
        page.click("#clear")
        say(page, text)
        page.wait_for_last(PAYLOADS, *["00 ff 48 65\nbinary, 4 octets"] * 2)
    page.click("#clear")
    say(page, "")
    page.wait_for_last(PAYLOADS, *["binary, 0 octets"] * 2)


def test_closing_and_coming_back(served: Served) -> None:
    page = connected(served("--protocol", "said.Said"))
    page.fill("#code", "4001")
    page.fill("#reason", "enough")
    page.click("#close")
    page.wait_for(STATE, "Closed: 4001, enough")
    assert page.text("#connect") == "Reconnect"
    assert not page.find("#close").is_enabled()
    connected(page)
    say(page, "close \u202ebye")
    page.wait_for(STATE, "Closed: 4000, ⟨U+202E⟩bye")
    connected(page)
    say(page, "end")
    page.wait_for(STATE, "Closed: 1006")


def test_a_refusal_is_told(served: Served) -> None:
    # Connections that the browser fetched the page with may not be over yet: they count too.
    page = served("--max-connections", "8")
    connected(page)
    page.run(
        "const url = location.origin.replace('http', 'ws');"
        "window.others = Array.from({length: 8}, () => new WebSocket(url))"
    )
    state = "return others.filter((each) => each.readyState === WebSocket.{}).length"
    page.wait(lambda: page.run(state.format("CONNECTING")) == 0, "an answer to each")
    refused = page.run(state.format("CLOSED"))
    assert refused
    assert "\n".join(page.wait_for_complaints(refused)).count("503") == refused
    page.click("#close")
    page.wait_for(STATE, "Closed")


def test_markup_is_text(served: Served) -> None:
    page = connected(served("--protocol", "echo"))
    payload = " ".join(HOSTILE)
    for each in (*HOSTILE, payload):
        say(page, each)
        page.wait_for_last(PAYLOADS, each, each)
    assert page.driver.title == "WebSocket console"
    assert (
        page.run("return document.querySelectorAll('#conversation :is(img, script, svg, b)')") == []
    )
    heard = "return document.getElementById('heard').textContent"
    page.wait(lambda: payload[:150] in page.run(heard), "the payload told")
    assert page.run("return document.getElementById('heard').childElementCount") == 0


def test_what_cannot_be_seen_is_named(served: Served) -> None:
    page = connected(served("--protocol", "echo"))
    say(page, "a\u202eb\u2066c\u200bd\x07e\x1b[31mf\tg\u00a0h\u2028i\ufeffj\U000e0001k\ue000")
    expected = (
        "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200B⟩d⟨U+0007⟩e⟨U+001B⟩[31mf⇥g"
        "⟨U+00A0⟩h⟨U+2028⟩i⟨U+FEFF⟩j⟨U+E0001⟩k⟨U+E000⟩"
    )
    page.wait_for_last(PAYLOADS, expected, expected)
    assert page.text("#conversation li:last-child .escaped") == "⟨U+202E⟩"
    for alone in ("\u202e", "\u2028", "\x00", "\u3000"):
        say(page, alone)
        name = f"⟨U+{ord(alone):04X}⟩"
        page.wait_for_last(PAYLOADS, name, name)


def test_what_is_kept_of_a_message_is_bounded(served: Served) -> None:
    page = connected(served("--protocol", "said.Said"))
    say(page, "text 5000")
    page.wait_for(PAYLOADS, "5,000 characters, 4096 shown")
    say(page, "binary 100000")
    page.wait_for(PAYLOADS, "binary, 100,000 octets, 1024 shown")
    say(page, "escapes 2000")
    page.wait_for(PAYLOADS, "a⟨U+0001⟩" * 2000)
    assert page.run("return document.querySelectorAll('#conversation .escaped').length") <= 16
    assert page.run("return document.getElementById('conversation').innerText.length") < 40_000


def test_a_flood_does_not_freeze_it(served: Served) -> None:
    page = served("--protocol", "said.Flood", "--send-buffer", "0")
    page.run(
        "window.longest = 0; let last = performance.now();"
        "setInterval(() => { const now = performance.now();"
        "longest = Math.max(longest, now - last); last = now; }, 20)"
    )
    connected(page)
    page.wait(lambda: received(page) > 20_000, "20,000 messages")
    assert page.run("return document.querySelectorAll(arguments[0]).length", ROWS) == 500
    assert "the last 500 shown" in page.text("#counts")
    last = page.texts(PAYLOADS)[-1]
    assert re.fullmatch(r"message \d+⟨U\+0001⟩", last)
    heard = "return document.getElementById('heard').textContent"
    page.wait(lambda: "messages, the last: message" in page.run(heard), "that many came")
    # One that draws each message is frozen until the flood ends, and it does not.
    assert page.run("return longest") < 5000
    page.click("#close")
    page.wait_for(STATE, "Closed")


def received(page: Browser) -> int:
    return int((re.match(r"[\d,]+", page.text("#counts")) or [""])[0].replace(",", "") or 0)


def test_who_scrolls_back_stays_there(served: Served) -> None:
    page = connected(served("--protocol", "said.Said"))
    at_end = (
        "const s = document.getElementById('scroll');"
        "return s.scrollHeight - s.scrollTop - s.clientHeight < 2"
    )
    for count in range(40):
        say(page, f"text {count}")
    page.wait(lambda: page.run(at_end), "the latest in sight")
    page.wait(lambda: not page.find("#latest").is_displayed(), "nothing that leads there")
    page.run("document.getElementById('scroll').scrollTop = 0")
    page.wait(lambda: page.find("#latest").is_displayed(), "the way back")
    assert not page.run(at_end)
    page.click("#latest")
    page.wait(lambda: page.run(at_end), "the latest in sight again")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_fits_and_can_be_read(
    served: Served, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    page = served("--protocol", "echo").look(size, scheme)
    connected(page)
    say(page, "word " * 100 + "unbroken" * 100 + "\u202e")
    page.run("document.getElementById('kind').value = 'binary'")
    say(page, "4")
    page.wait_for("#message-problem", "pairs")
    page.wait_for(STATE, "Connected")
    assert page.run("return document.documentElement.scrollWidth") == size[0]
    assert poor_contrasts(page) == []
    small = page.run(
        "return [...document.querySelectorAll('button, input, select')]"
        ".filter((e) => e.offsetHeight && e.getBoundingClientRect().height < 30).map((e) => e.id)"
    )
    assert small == []
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_every_control_has_a_name(served: Served) -> None:
    page = served()
    unnamed = page.run(
        "return [...document.querySelectorAll('input, select, textarea')]"
        ".filter((each) => !each.labels.length).map((each) => each.id)"
    )
    assert unnamed == []
    assert page.run("return document.documentElement.lang") == "en"
