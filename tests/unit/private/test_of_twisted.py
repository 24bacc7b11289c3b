from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import endpoints, posixbase, tcp, unix
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    textFileLogObserver,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.logfile import LogFile
from twisted.python.systemd import ListenFDs
from twisted.scripts import twistd
from twisted.web.http import HTTPChannel

from wsservice.errors import ConfigError
from wsservice.private import absent, of_twisted


class Reactor(MemoryReactorClock):
    """A reactor that counts what is scheduled, as Twisted's own do."""

    def __init__(self) -> None:
        super().__init__()
        self._pendingTimedCalls = ["pending"]
        self._newTimedCalls = ["new"]


class TestScheduledCalls:
    def test_this_twisted_has_the_names(self) -> None:
        names = ["_pendingTimedCalls", "_newTimedCalls"]
        assert absent(posixbase.PosixReactorBase, names) == []

    def test_they_are_of_both_lists(self) -> None:
        assert of_twisted.scheduled_calls(Reactor()) == ["pending", "new"]

    def test_without_those_names_they_are_the_public_ones(self) -> None:
        clock = Clock()
        call = clock.callLater(1, lambda: None)
        assert of_twisted.scheduled_calls(clock) == [call]


class TestLog:
    def test_this_twisted_has_the_names(self) -> None:
        observer = textFileLogObserver(io.StringIO())
        passing = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
        filtered = FilteringLogObserver(observer, [passing])
        publisher = LogPublisher(filtered)
        assert of_twisted.observers_of(publisher) == [filtered]
        should_log, behind = of_twisted.filter_of(filtered)
        assert should_log({"log_level": LogLevel.warn, "log_namespace": "any"})
        assert should_log.args[0] == [passing]
        assert behind is observer
        assert isinstance(of_twisted.file_of(observer), io.StringIO)

    def test_twistd_opens_its_file(self, tmp_path: Path) -> None:
        path = str(tmp_path / "log")
        observer = of_twisted.twistd_observer({"logfile": path, "nodaemon": True})
        file = of_twisted.file_of(observer)
        assert isinstance(file, LogFile)
        assert file.path == path
        file.close()

    @pytest.mark.parametrize("runner", [None, SimpleNamespace(loggerFactory=object)])
    def test_with_another_twistd_the_log_is_opened_without_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Any
    ) -> None:
        if isinstance(runner, SimpleNamespace):
            runner.loggerFactory = lambda _: object()
        monkeypatch.setattr(twistd, "_SomeApplicationRunner", runner)
        path = str(tmp_path / "log")
        file = of_twisted.file_of(of_twisted.twistd_observer({"logfile": path}))
        assert file.path == path
        file.close()
        for options in ({"nodaemon": True}, {"logfile": "-"}):
            observer = of_twisted.twistd_observer(options)
            assert of_twisted.file_of(observer) is sys.stdout


def secure(reactor: Any) -> SSL4ServerEndpoint:
    return SSL4ServerEndpoint(reactor, 8443, CertificateOptions(), 7, "127.0.0.1")


class TestEndpoints:
    def test_one_within_another_is_found(self) -> None:
        outer: Any = serverFromString(MemoryReactorClock(), "haproxy:tcp:80")
        assert isinstance(of_twisted.endpoint_within(outer), TCP4ServerEndpoint)

    def test_others_have_none_within(self) -> None:
        assert of_twisted.endpoint_within(secure(None)) is None
        assert of_twisted.endpoint_within(object()) is None

    def test_the_tls_of_one_is_replaced(self) -> None:
        endpoint, options = secure(None), CertificateOptions()
        assert isinstance(of_twisted.tls_options_of(endpoint), CertificateOptions)
        of_twisted.use_tls_options(endpoint, options)
        assert of_twisted.tls_options_of(endpoint) is options

    def test_others_have_no_tls(self) -> None:
        assert of_twisted.tls_options_of(TCP4ServerEndpoint(None, 80)) is None

    def test_tcp_alone_listens_at_the_same_place(self) -> None:
        reactor = MemoryReactorClock()
        found = of_twisted.without_tls(secure(reactor))
        assert found is not None
        found[0].listen(Factory())
        assert isinstance(found[1], CertificateOptions)
        assert reactor.tcpServers[0][0] == 8443
        assert reactor.tcpServers[0][2:] == (7, "127.0.0.1")

    def test_others_are_left_alone(self) -> None:
        assert of_twisted.without_tls(TCP4ServerEndpoint(None, 80)) is None
        assert of_twisted.without_tls(object()) is None

    @pytest.mark.parametrize("name", ["_sslContextFactory", "_backlog"])
    def test_without_a_name_an_endpoint_with_tls_is_refused(self, name: str) -> None:
        endpoint = secure(None)
        delattr(endpoint, name)
        with pytest.raises(ConfigError, match=f"needs another version of Twisted: .*{name}'$"):
            of_twisted.without_tls(endpoint)

    @pytest.mark.parametrize("endpoint", [secure(None), TCP4ServerEndpoint(None, 80)])
    def test_an_interface_is_known(self, endpoint: Any) -> None:
        assert of_twisted.interface_of(endpoint) in ("", "127.0.0.1")

    def test_others_name_no_interface(self) -> None:
        assert of_twisted.interface_of(object()) is None


class TestHandedSockets:
    def test_they_are_those_of_twisteds_parser(self) -> None:
        assert of_twisted.handed_sockets() is endpoints._SystemdParser._sddaemon

    def test_with_another_parser_they_are_those_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(endpoints, "_SystemdParser")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "2")
        monkeypatch.setenv("LISTEN_FDNAMES", "a:b")
        handed = of_twisted.handed_sockets()
        assert isinstance(handed, ListenFDs)
        assert handed.inheritedDescriptors() == [3, 4]


class TestPorts:
    @pytest.mark.parametrize("owner", [tcp.Port, unix.Port])
    def test_this_twisted_has_the_names(self, owner: type) -> None:
        names = ["_shouldShutdown", "_logConnectionLostMsg()", "_realPortNumber"]
        assert absent(owner, names) == []

    def test_a_borrowed_socket_is_not_shut_down(self) -> None:
        class Port(of_twisted.Quiet, tcp.Port):
            pass

        done: list[str] = []
        reactor = SimpleNamespace(removeReader=lambda _: None, removeWriter=lambda _: None)
        port: Any = Port(0, Factory(), reactor=reactor)
        port.socket = SimpleNamespace(
            shutdown=lambda _: done.append("shut down"), close=lambda: done.append("closed")
        )
        port.fileno, port.connected, port.factory.numPorts = None, True, 1
        port.connectionLost(None)
        assert done == ["closed"]

    def test_a_port_gets_a_number(self) -> None:
        port = tcp.Port(0, Factory(), reactor=object())
        of_twisted.name_port(port, 8080)
        assert repr(port).endswith("on 8080>")


class TestPolling:
    def test_this_twisted_has_the_names(self) -> None:
        assert of_twisted.can_poll()
        names = ["_POLL_IN", "_POLL_OUT", "_POLL_DISCONNECTED", "_reads", "_disconnectSelectable"]
        assert absent(posixbase._PollLikeMixin, names) == []

    def test_without_one_nothing_is_polled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(of_twisted.PollsTogether, "read_or_write", None)
        assert not of_twisted.can_poll()


def test_what_a_transport_has_not_sent_is_counted() -> None:
    transport: Any = tcp.Connection(SimpleNamespace(setblocking=bool, fileno=int), None, object())  # type: ignore[arg-type]
    assert of_twisted.has_sent_all(transport)
    transport.connected = True
    transport.startWriting = lambda: None
    transport.write(b"waits")
    assert not of_twisted.has_sent_all(transport)
    transport.dataBuffer, transport.offset = b"sent in part", 5
    assert of_twisted.unsent(transport) == 7 + 5


def test_this_twisted_has_the_names_of_tls() -> None:
    assert of_twisted.missing_of_tls() == []


def test_the_clock_of_tls_is_the_factorys_or_the_ports() -> None:
    factory: Any = SimpleNamespace(_clock="the factory's")
    port = SimpleNamespace(reactor="the port's")
    assert of_twisted.clock_of(factory, port) == "the factory's"
    assert of_twisted.clock_of(SimpleNamespace(), port) == "the port's"  # type: ignore[arg-type]
    assert absent(TLSMemoryBIOProtocol, ["_no_such_name"]) == ["_no_such_name"]


def test_this_twisted_has_the_names_of_http() -> None:
    names = [*of_twisted.SHARED_WITH_HTTP, "_command", "_path", "_version"]
    assert absent(HTTPChannel, names) == []


def test_without_them_the_line_of_a_request_is_unknown() -> None:
    channel = SimpleNamespace(_command=b"GET", _path=b"/", _version=b"HTTP/1.1")
    assert of_twisted.request_line(channel) == (b"GET", b"/", b"HTTP/1.1")
    del channel._path
    assert of_twisted.request_line(channel) is None


_WITHOUT = """
import importlib, pkgutil
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import endpoints, posixbase
from twisted.protocols.tls import TLSMemoryBIOProtocol

del WebSocketProtocol._connectionLost, WebSocketProtocol._connectionMade
del posixbase._PollLikeMixin, posixbase._DisconnectSelectableMixin
del endpoints._SystemdParser, endpoints._WrapperServerEndpoint
del TLSMemoryBIOProtocol._shutdownTLS

import wsservice.private
from wsservice.errors import ConfigError

absent = wsservice.private.absent
wsservice.private.absent = lambda owner, names: (
    names if names == ["_tempDataLen"] else absent(owner, names)
)
for each in pkgutil.walk_packages(wsservice.__path__, "wsservice."):
    importlib.import_module(each.name)

from wsservice.net.transports import has_sent_all, unsent
from wsservice.private.of_twisted import can_poll, missing_of_tls
from wsservice.protocol.options import ConnectionFactory

class Transport:
    dataBuffer, offset = b"in part", 3

print(can_poll(), missing_of_tls(), has_sent_all(Transport), unsent(Transport))
try:
    ConnectionFactory()
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow  # a new interpreter
def test_modules_are_imported_without_any_name_and_a_service_says_so_in_one_line() -> None:
    result = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)
    first, line = result.stdout.splitlines()
    assert (first, result.stderr) == ("False ['_shutdownTLS()'] False 4", "")
    assert line.startswith("Autobahn ")
    assert "it has no _connectionLost(), _connectionMade(); install another version" in line
