"""The service on each of Twisted's reactors, and its polling under Twisted's own tests."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from ..needs import need
from .conftest import Connect
from .processes import Programs

_WITHOUT_EPOLL = "import select; del select.epoll; from twisted.scripts.twistd import run; run()"

_TWISTEDS_TESTS = """
import sys
from twisted.internet import epollreactor
from twisted.internet.test.reactormixins import ReactorBuilder
from wsservice.net.polling import poll_together
from wsservice.net.gathering import Gathering
from wsservice.net.turns import Turns

class Together(epollreactor.EPollReactor):
    def listenTCP(self, *args, **kwargs):
        return together(super().listenTCP(*args, **kwargs))

    def listenUNIX(self, *args, **kwargs):
        return together(super().listenUNIX(*args, **kwargs))

    def adoptStreamPort(self, *args, **kwargs):
        return together(super().adoptStreamPort(*args, **kwargs))

def together(port):
    poll_together([port], Turns(port.reactor, Gathering()))
    return port

epollreactor.Together = Together
Together.__module__ = epollreactor.__name__
ReactorBuilder._reactors = ["twisted.internet.epollreactor.Together"]
from twisted.internet.test import connectionmixins, test_tcp
# Two things are otherwise: the name in the old log, and what is a reader of the reactor's.
del connectionmixins.ConnectionTestsMixin.test_logPrefix
del test_tcp.TCPConnectionTestsBuilder.test_resumeProducing
from twisted.trial.reporter import VerboseTextReporter
from twisted.trial.runner import TestLoader, TrialSuite
suite = TrialSuite()

def add(test):
    inner = getattr(test, "_tests", None)
    if inner is not None:
        for each in inner:
            add(each)
    elif "Together" in test.id():
        suite.addTest(test)

for name in sys.argv[1:]:
    add(TestLoader().loadByName("twisted.internet.test." + name, recurse=True))
result = VerboseTextReporter(sys.stdout)
suite.run(result)
result.done()
"""


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio"])
def test_it_greets_logs_and_stops_on_each_reactor(
    programs: Programs, connect: Connect, reactor: str
) -> None:
    server = programs.twistd("--port", "0", reactor=reactor)
    first, second = connect(server.port), connect(server.port)
    for client, said in ((first, "hello"), (second, "world")):
        assert client.receive() == "Hello from server"
        client.send(said)
        server.log.wait_for(f"Message received: {said}\n")
    first.close()
    server.signal(signal.SIGTERM)
    assert second.answer_close().code == 1001
    assert server.wait() == 0


def test_where_there_is_no_epoll_it_serves_all_the_same(
    programs: Programs, connect: Connect
) -> None:
    server = programs.start(sys.executable, "-c", _WITHOUT_EPOLL, "-n", "wsdemo", "--port", "0")
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("hello")
    server.log.wait_for("Message received: hello\n")
    server.signal(signal.SIGTERM)
    assert client.answer_close().code == 1001
    assert server.wait() == 0


def test_connections_polled_together_pass_twisteds_own_tests(programs: Programs) -> None:
    need(sys.platform == "linux", "Linux, for epoll")
    program = programs.start(
        *(sys.executable, "-c", _TWISTEDS_TESTS), "test_tcp", "test_unix", "test_tls"
    )
    assert program.wait(60) == 0
    assert re.search(r"PASSED \((skips=\d+, )?successes=1\d\d\)", program.stdout.text), (
        program.stdout.text
    )
