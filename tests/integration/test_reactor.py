"""The service on the reactor of its own, and that reactor under Twisted's own tests."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from .conftest import Connect
from .processes import BIN, WAYS, Programs

_TWISTEDS_TESTS = """
import sys
from twisted.internet.test.reactormixins import ReactorBuilder
ReactorBuilder._reactors = ["wsservice.epoll.WSEPollReactor"]
from twisted.internet.test import test_fdset
# A closed descriptor goes unnoticed with epoll. That Twisted's test knows by the class's name.
del test_fdset.ReactorFDSetTestsBuilder.test_lostFileDescriptor
from twisted.trial.runner import TestLoader, TrialSuite
from twisted.trial.reporter import VerboseTextReporter
from twisted.trial.unittest import SynchronousTestCase
suite = TrialSuite()
loader = TestLoader()
for name in sys.argv[1:]:
    for test in loader.loadByName("twisted.internet.test." + name, recurse=True)._tests:
        for each in getattr(test, "_tests", [test]):
            for one in getattr(each, "_tests", [each]):
                if "WSEPollReactor" in one.id():
                    suite.addTest(one)
result = VerboseTextReporter(sys.stdout)
suite.run(result)
result.done()
"""


@pytest.mark.parametrize("how", WAYS)
def test_it_greets_logs_and_stops_on_its_own_reactor(
    programs: Programs, connect: Connect, how: str
) -> None:
    server = programs.serve(how, "--port", "0", reactor="wsepoll")
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("hello")
    server.log.wait_for("Message received: hello\n")
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0
    if how != "twist":  # which says no such thing
        assert "reactor class: wsservice.epoll.WSEPollReactor." in server.log.text


def test_a_second_signal_ends_it_at_once(programs: Programs, connect: Connect) -> None:
    server = programs.twistd("--port", "0", "--drain", "60", reactor="wsepoll")
    connect(server.port)
    server.signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    server.signal(signal.SIGINT)
    assert server.wait(5) == 128 + signal.SIGINT


def test_it_is_used_only_where_it_is_asked_for(programs: Programs) -> None:
    server = programs.twistd("--port", "0")
    server.log.wait_for("reactor class: ")
    assert "wsepoll" not in server.log.text.lower()


def test_twistd_lists_it(programs: Programs) -> None:
    listing = programs.start(BIN / "twistd", "--help-reactors")
    assert listing.wait() == 0
    assert listing.stdout.text.count(" wsepoll\t") == 1


def test_where_there_is_no_epoll_twistd_says_so_in_one_line(programs: Programs) -> None:
    without = "import select; del select.epoll; from twisted.scripts.twistd import run; run()"
    program = programs.start(sys.executable, "-c", without, "-n", "--reactor=wsepoll", "wsdemo")
    assert program.wait() == 1
    assert program.stderr.text.startswith("--reactor: wsepoll needs epoll")
    assert program.stderr.text.count("\n") == 1
    assert program.stdout.text == ""


def test_it_passes_twisteds_own_tests_of_a_reactor(programs: Programs) -> None:
    program = programs.start(
        *(sys.executable, "-c", _TWISTEDS_TESTS),
        *("test_core", "test_fdset", "test_time", "test_threads"),
    )
    assert program.wait(60) == 0
    assert re.search(r"PASSED \((skips=\d+, )?successes=\d\d\)", program.stdout.text), (
        program.stdout.text
    )
