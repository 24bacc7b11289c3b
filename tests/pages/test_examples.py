"""The examples, each started as its first lines say and driven in a browser."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from wsservice.auth.tokens import line_of

from ..integration.processes import Programs, can_connect, free_port, wait_until
from .browser import ENTER, Browser

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGES = sorted(EXAMPLES.glob("*.html"))
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"
ADMIN = ("--greeting", "", "--admin", "tcp:0:interface=127.0.0.1")


class Example:
    """An example that runs: a service, and a program or a web server beside it."""

    def __init__(self, programs: Programs, browser: Browser) -> None:
        self._programs = programs
        self._browser = browser
        self.web = free_port()
        self.port = 0
        self.admin = ""
        shutil.copytree(EXAMPLES, programs.folder, dirs_exist_ok=True)

    def serve(self, *options: str) -> Example:
        origin = f"http://127.0.0.1:{self.web}"
        program = self._programs.twistd("--port", "0", "--allow-origin", origin, *options)
        self.port, *face = program.log.wait_for_ports(1 + ("--admin" in options))
        if face:
            self.admin = f"http://127.0.0.1:{face[0]}"
        return self

    def run(self, *command: str) -> Example:
        """Start a Python program of the example's."""
        environment = {"WSSERVICE_ADMIN_URL": self.admin} if self.admin else {}
        self._programs.start(sys.executable, *command, environment=environment)
        return self

    def pages(self) -> Example:
        """A web server for its pages."""
        return self.run("-m", "http.server", str(self.web), "--bind", "127.0.0.1")

    def open(self, path: str = "", fragment: str = "") -> Browser:
        wait_until(lambda: can_connect(self.web), "the web server")
        url = f"http://127.0.0.1:{self.web}/{path}?port={self.port}"
        return self._browser.open(f"{url}#{fragment}" if fragment else url)

    def publish(self, channel: str, text: str) -> None:
        """As anybody could who reaches the admin face."""
        request = urllib.request.Request(f"{self.admin}/publish/{channel}", text.encode())
        urllib.request.urlopen(request, timeout=10).close()

    def metric(self, name: str) -> float:
        """A figure of the service."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return float(value)

    def close_all(self) -> None:
        """Close all connections, as an operator may."""
        with urllib.request.urlopen(f"{self.admin}/connections", timeout=10) as answer:
            ids = [each["id"] for each in json.loads(answer.read())["connections"]]
        for each in ids:
            url = f"{self.admin}/connections/{each}/close"
            urllib.request.urlopen(urllib.request.Request(url, b""), timeout=10).close()


@pytest.fixture
def example(programs: Programs, browser: Browser) -> Iterator[Example]:
    yield Example(programs, browser)
    # Before what it talks to is gone, of which it would complain.
    browser.open("about:blank")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_all_it_needs_and_shows_nothing_as_html(path: Path) -> None:
    text = path.read_text().replace('<link rel="icon" href="data:,">', "")
    for word in ("src=", "href=", "http:", "https://", "@import", "innerHTML = ", "insertAdj"):
        assert word not in text, word


def said(browser: Browser, selector: str, part: str) -> None:
    browser.wait_for(selector, part)
    assert browser.run("return document.title") != "owned"
    assert browser.run("return document.images.length") == 0


def test_the_chat(example: Example) -> None:
    page = example.serve("--protocol", "chat.Chat").pages().open("chat.html")
    page.wait_for("#state", "Connected")
    page.fill("#text", "Ann")
    page.press(ENTER)
    said(page, "#talk", "Ann joined")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    other = example.open("chat.html")
    other.wait_for("#state", "Connected")
    other.fill("#text", "<b>Bob</b>")
    other.press(ENTER)
    said(other, "#state", "2 here")
    other.fill("#text", HOSTILE)
    other.press(ENTER)
    said(other, "#talk", f"<b>Bob</b>: {HOSTILE}")
    other.driver.close()
    page.driver.switch_to.window(first)
    said(page, "#talk", f"<b>Bob</b>: {HOSTILE}")
    said(page, "#talk", "<b>Bob</b> left")
    page.wait_for("#state", "1 here")
    assert page.texts("#talk .known") == []


def test_who_comes_later_to_the_chat_sees_what_was_said(example: Example) -> None:
    chat = ("--protocol", "chat.Chat", "--history", "100,1h")
    page = example.serve(*chat).pages().open("chat.html")
    page.wait_for("#state", "Connected")
    page.fill("#text", "Ann")
    page.press(ENTER)
    for number in range(25):
        page.fill("#text", f"{number} {HOSTILE}")
        page.press(ENTER)
    said(page, "#talk", f"Ann: 24 {HOSTILE}")
    page.driver.switch_to.new_window("tab")
    other = example.open("chat.html")
    said(other, "#talk", f"Ann: 24 {HOSTILE}")
    lines = "return [...document.querySelectorAll('#talk li')].map((each) => each.textContent)"
    assert other.run(lines) == [f"Ann: {number} {HOSTILE}" for number in range(5, 25)]
    other.fill("#text", "Bob")
    other.press(ENTER)
    said(other, "#talk", "Bob joined")
    # A page that is connected anew shows nothing twice.
    other.run("socket.close()")
    said(other, "#talk", "Bob left")  # which only a new connection is told
    assert other.run(lines).count(f"Ann: 24 {HOSTILE}") == 1
    other.driver.close()
    page.driver.switch_to.window(page.driver.window_handles[0])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_chat_knows_its_people(example: Example, tmp_path: Path, workers: str) -> None:
    users = {each: line_of(each) for each in ("ann", "<b>tom</b>")}
    file = tmp_path / "chat-users"
    file.write_text("".join(f"{line}\n" for _, line in users.values()))
    file.chmod(0o600)
    chat = ("--protocol", "chat.Chat", "--history", "100,1h", "--workers", workers)
    example.serve(*chat, "--auth", f"tokens:{file}").pages()
    ann, tom = (token for token, _ in users.values())
    page = example.open("chat.html", ann)
    said(page, "#talk", "ann joined")
    page.wait_for("#state", "Here: ann")
    assert page.find("#text").get_attribute("placeholder") == "Your message"
    assert page.texts("#talk b.known") == ["ann"]
    # Nobody speaks as another.
    page.run("send('name', 'eve')")
    page.fill("#text", HOSTILE)
    page.press(ENTER)
    said(page, "#talk", f"ann: {HOSTILE}")
    first = page.driver.current_window_handle
    for count in (1, 2):  # two tabs of one user
        page.driver.switch_to.new_window("tab")
        other = example.open("chat.html", tom)
        said(other, "#talk", f"ann: {HOSTILE}")  # from before it came
        said(other, "#talk", "tab 1\n<b>tom</b> joined" if count == 2 else "<b>tom</b> joined")
        other.wait_for("#state", "Here: <b>tom</b>, ann")
        other.fill("#text", f"tab {count}")
        other.press(ENTER)
        said(other, "#talk", f"<b>tom</b>: tab {count}")
    other.driver.close()
    page.driver.switch_to.window(page.driver.window_handles[-1])
    page.fill("#text", "one left")
    page.press(ENTER)
    said(page, "#talk", "one left")
    page.wait_for("#state", "Here: <b>tom</b>, ann")
    page.driver.close()
    page.driver.switch_to.window(first)
    said(page, "#talk", "<b>tom</b> left")
    assert page.text("#talk").count(" left") == 2  # "one left", and the last tab
    assert page.text("#state") == "Here: ann"
    assert "eve" not in page.text("#talk")
    assert tom not in page.text("body")


def test_a_guest_of_the_chat_is_not_taken_for_a_user(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "chat-users"
    token, line = line_of("ann")
    file.write_text(f"{line}\n")
    file.chmod(0o600)
    auth = ("--auth", f"tokens:{file}", "--auth-optional")
    page = example.serve("--protocol", "chat.Chat", *auth).pages().open("chat.html", token)
    said(page, "#talk", "ann joined")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    guest = example.open("chat.html")
    guest.wait_for("#state", "Connected")
    guest.fill("#text", "ann")
    guest.press(ENTER)
    said(guest, "#talk", "ann joined")
    guest.driver.close()
    page.driver.switch_to.window(first)
    said(page, "#talk", "ann left")
    names = "return [...document.querySelectorAll('#talk b')].map((each) => each.className)"
    assert page.run(names) == ["known", "", ""]
    assert page.text("#state") == "Here: ann"


def test_a_stranger_does_not_get_into_the_chat(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "chat-users"
    file.write_text(f"{line_of('ann')[1]}\n")
    file.chmod(0o600)
    example.serve("--protocol", "chat.Chat", "--auth", f"tokens:{file}").pages()
    for wrong in ("nonsense", ""):
        page = example.open("chat.html", wrong)
        page.wait_for("#state", "Not connected")
        assert page.text("#talk") == ""
        page.open("about:blank")
        complaints = page.wait_for_complaints(1)
        assert all("WebSocket connection to" in each for each in complaints), complaints
        assert "nonsense" not in str(complaints)


def test_the_ticker(example: Example) -> None:
    page = example.serve(*ADMIN).pages().run("ticker.py", "0.05").open("ticker.html")
    page.wait_for("#state", "Live")
    page.wait_for("#prices", "Cheese")
    before = page.text("#prices")
    page.wait(lambda: page.text("#prices") != before, "another price")
    hostile = {"changed": "x", "prices": {HOSTILE: 1}}
    example.publish("ticker", json.dumps(hostile))
    assert page.run("return document.title") == "Ticker"


@pytest.fixture(params=["flask", "django"])
def notifying(example: Example, request: pytest.FixtureRequest) -> Example:
    example.serve(*ADMIN)
    if request.param == "flask":
        return example.run(
            "-m", "flask", "--app", "flask_notifications", "run", "--port", str(example.web)
        )
    return example.run(
        "django_notifications.py", "runserver", "--noreload", f"127.0.0.1:{example.web}"
    )


def test_notifications(notifying: Example) -> None:
    page = notifying.open()
    page.wait_for("#state", "Listening")
    page.fill("#text", HOSTILE)
    page.press(ENTER)
    said(page, "#notes", f"Your order is ready: {HOSTILE}")
    channel = page.run("return fetch('/channel').then((a) => a.json()).then((a) => a.channel)")
    assert len(channel) > len("notes/") + 32
    notifying.publish(channel, "from elsewhere")
    said(page, "#notes", "from elsewhere")
    # Another browser has another channel.
    page.driver.delete_all_cookies()
    script = "return fetch('/channel').then((a) => a.json()).then((a) => a.channel)"
    assert page.run(script) != channel


def test_an_order_of_nobody_notifies_nobody(notifying: Example) -> None:
    page = notifying.open()
    page.wait_for("#state", "Listening")
    page.driver.delete_all_cookies()
    status = "return fetch('/order', {method: 'POST', body: 'x'}).then((a) => a.status)"
    assert page.run(status) == 409
    assert len(page.wait_for_complaints(1)) == 1  # which says so


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_page_that_connects_with_tickets(example: Example, workers: str) -> None:
    service = ("--protocol", "members.Members", "--auth", "tickets", "--workers", workers)
    example.serve(*ADMIN, *service)
    example.run("-m", "flask", "--app", "flask_tickets", "run", "--port", str(example.web))
    page = example.open()
    page.wait_for("#state", "Not logged in")
    page.fill("#name", "<b>Ann</b>")
    page.press(ENTER)
    page.wait_for("#state", "Connected")
    said(page, "#talk", "<b>Ann</b> is here")
    page.fill("#text", HOSTILE)
    page.press(ENTER)
    said(page, "#talk", f"<b>Ann</b>: {HOSTILE}")
    assert example.metric("wsservice_tickets_made_total") == 1

    def here(count: int) -> bool:
        return page.text("#talk").count("<b>Ann</b> is here") == count

    # Each connection that is closed is followed by another one, with a ticket of its own.
    for count in (2, 3):
        example.close_all()
        page.wait(partial(here, count), "another connection")
        assert example.metric("wsservice_tickets_made_total") == count
    refused = example.metric('wsservice_refusals_total{reason="bad credential"}')
    assert refused == 0
    assert len(page.wait_for_complaints(1)) == 1  # that it was not logged in at first


def test_the_progress_of_a_job(example: Example) -> None:
    page = example.serve(*ADMIN).run("job.py", str(example.web)).open()
    page.click("#start")
    page.wait_for("#state", " of 20")
    page.wait_for("#state", "Done")
    assert page.run("return document.getElementById('bar').value") == 1
    for path in ("no", "../job.py"):
        status = "return fetch(arguments[0]).then((a) => a.status)"
        assert page.run(status, f"/{path}") == 404
    begin = "return fetch('/jobs/x', {method: 'POST'}).then((a) => a.status)"
    assert page.run(begin) == 404
    assert len(page.wait_for_complaints(3)) == 3  # which says so
