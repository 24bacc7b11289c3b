from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port as TCPPort
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from wsservice.config.config import Config
from wsservice.errors import ConfigError, ListenError
from wsservice.net import listening
from wsservice.net.listening import (
    AnyAddressEndpoint,
    Renewal,
    endpoints,
    listen,
    reason,
    tls_of,
)

from ...certificates import Authority
from ...support import Logged


class Socket:
    """Stands in for `socket.socket`."""

    made: list[Socket]
    fails: dict[tuple[int, str], int]
    """The error numbers of failing calls, by family and method."""

    def __init__(self, family: int, kind: int) -> None:
        self.family = family
        self.did: list[Any] = []
        self._may("socket")
        self.made.append(self)

    def _may(self, method: str) -> None:
        if number := self.fails.get((self.family, method)):
            raise OSError(number, "no")

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._may("setsockopt")
        self.did.append((level, option, value))

    def bind(self, address: tuple[str, int]) -> None:
        self._may("bind")
        self.did.append(address)

    def listen(self, backlog: int) -> None:
        self.did.append(("listen", backlog))

    def setblocking(self, blocking: bool) -> None:
        self.did.append(("blocking", blocking))

    def fileno(self) -> int:
        return 100 + self.family

    def close(self) -> None:
        self.did.append("close")

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> type[Socket]:
    class Sockets(Socket):
        made = []
        fails = {}

    monkeypatch.setattr(socket, "socket", Sockets)
    return Sockets


class AdoptingReactor:
    def __init__(self) -> None:
        self.adopted: list[tuple[int, int]] = []

    def adoptStreamPort(self, descriptor: int, family: int, factory: object) -> object:
        self.adopted.append((descriptor, family))
        return "the port"


def outcome(deferred: Deferred[Any]) -> Any:
    results: list[Any] = []
    deferred.addBoth(results.append)
    (result,) = results
    return result


class TestAnyAddress:
    def test_one_socket_listens_on_ipv6_and_ipv4(self, sockets: type[Socket]) -> None:
        reactor = AdoptingReactor()
        assert outcome(AnyAddressEndpoint(reactor, 0).listen(Factory())) == "the port"
        (made,) = sockets.made
        assert made.family == socket.AF_INET6
        assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0) in made.did
        assert (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1) in made.did
        assert ("::", 0) in made.did
        assert ("blocking", False) in made.did
        assert made.did[-2:] == [("listen", 1024), "close"]
        assert reactor.adopted == [(110, socket.AF_INET6)]

    @pytest.mark.parametrize("method", ["socket", "setsockopt", "bind"])
    @pytest.mark.parametrize(
        "number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT, errno.EINVAL]
    )
    def test_where_there_is_no_ipv6_it_is_ipv4_alone(
        self, sockets: type[Socket], method: str, number: int
    ) -> None:
        sockets.fails[socket.AF_INET6, method] = number
        reactor = AdoptingReactor()
        assert outcome(AnyAddressEndpoint(reactor, 8080).listen(Factory())) == "the port"
        *failed, made = sockets.made
        assert [each.did[-1] for each in failed] == ["close"] * len(failed)
        assert ("0.0.0.0", 8080) in made.did
        assert reactor.adopted == [(102, socket.AF_INET)]

    def test_a_port_that_is_taken_is_an_error_and_not_tried_on_ipv4(
        self, sockets: type[Socket]
    ) -> None:
        sockets.fails[socket.AF_INET6, "bind"] = errno.EADDRINUSE
        failure = outcome(AnyAddressEndpoint(AdoptingReactor(), 8080).listen(Factory()))
        assert failure.check(OSError)
        assert [each.did[-1] for each in sockets.made] == ["close"]


class TestEndpoints:
    def test_a_port_is_on_every_address(self) -> None:
        reactor = MemoryReactorClock()
        assert endpoints(Config(), reactor) == [("--port 8080", AnyAddressEndpoint(reactor, 8080))]

    def test_each_endpoint_goes_by_the_option_that_names_it(self) -> None:
        config = Config(listen=("tcp:1", "unix:ws.sock"), port=2)
        named = endpoints(config, MemoryReactorClock())
        assert [option for option, _ in named] == [
            "--port 2",
            "--listen tcp:1",
            "--listen unix:ws.sock",
        ]

    @pytest.mark.parametrize(
        "description",
        ["nonsense", "tcp", "tcp:http", "tcp:1:2:3:4:5", "bogus:1", "ssl:443:privateKey=/no/such"],
    )
    def test_what_is_none_is_refused_in_one_line(self, description: str) -> None:
        with pytest.raises(ConfigError) as caught:
            endpoints(Config(listen=(description,)), MemoryReactorClock())
        message = str(caught.value)
        assert message.startswith(f"--listen {description}: is not an endpoint to listen on")
        assert "give one such as tcp:8080" in message
        assert message.isprintable()


@implementer(IListeningPort)
class Port:
    def __init__(self) -> None:
        self.listening = True

    def startListening(self) -> None:
        raise AssertionError("it does already")

    def stopListening(self) -> None:
        self.listening = False

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)


@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, result: Deferred[Any]) -> None:
        self.result = result

    def listen(self, protocolFactory: object) -> Deferred[Any]:
        return self.result


class TestListen:
    def test_all_are_listened_on(self) -> None:
        ports = [Port(), Port()]
        named = [(str(port), Endpoint(succeed(port))) for port in ports]
        assert listen([*named], Factory()) == ports

    @pytest.mark.parametrize(
        ("result", "problem"),
        [
            (
                fail(OSError(errno.EADDRINUSE, "Address in use")),
                "cannot be listened on, Address in use",
            ),
            (fail(ValueError("a\nb")), r"cannot be listened on, a\nb"),
            (Deferred(), "does not listen at once; use an endpoint that does"),
        ],
    )
    def test_where_one_cannot_be_none_is(self, result: Deferred[Any], problem: str) -> None:
        first, last = Port(), Port()
        named = [
            ("--listen 1", Endpoint(succeed(first))),
            ("--listen 2", Endpoint(result)),
            ("--listen 3", Endpoint(succeed(last))),
        ]
        with pytest.raises(ListenError) as caught:
            listen([*named], Factory())
        assert str(caught.value) == f"--listen 2: {problem}"
        assert not first.listening


def test_a_port_accepts_a_few_at_one_go_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted: list[int] = []

    def do_read(port: TCPPort) -> None:
        accepted.append(port.numberAccepts)
        port.numberAccepts += 20  # as Twisted does when that was not enough

    monkeypatch.setattr(TCPPort, "doRead", do_read)
    port = TCPPort(0, Factory(), reactor=MemoryReactorClock())
    port.socket = socket.socket()
    port.socket.close()
    port.numberAccepts = 100
    listen([("--listen x", Endpoint(succeed(port)))], Factory())
    for _ in range(3):
        port.doRead()
    assert accepted == [16, 16, 16]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.ENOENT, "No such file", "key\n.pem"), r"No such file (key\n.pem)"),
        (
            CannotListenError("::", 1, OSError(errno.EACCES, "Permission denied")),
            "Permission denied",
        ),
        (ValueError("a\nb"), r"a\nb"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_a_few_words_in_one_line(error: Exception, words: str) -> None:
    assert reason(error) == words


def test_a_key_that_is_none_is_said_in_words(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    config = Config(listen=(f"ssl:0:privateKey={key}",))
    with pytest.raises(ConfigError, match="key and certificate cannot be read as PEM"):
        endpoints(config, MemoryReactorClock())


# What Twisted itself does for `ssl:`.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestTLS:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    def config(self, authority: Authority) -> Config:
        """A port, and endpoints of every kind, by the same certificate."""
        key, certificate = authority.certificate()
        ssl = f"ssl:1:privateKey={key}:certKey={certificate}"
        return Config(
            port=0,
            tls_cert=(str(certificate),),
            tls_key=(str(key),),
            listen=("tcp:1", ssl, f"haproxy:{ssl}", "unix:ws.sock", ssl),
        )

    def test_the_port_is_wrapped_in_it(self, authority: Authority, sockets: type[Socket]) -> None:
        class Reactor(AdoptingReactor):
            def adoptStreamPort(self, descriptor: int, family: int, factory: object) -> object:
                return factory

        config = self.config(authority)
        ((_, endpoint), *_) = endpoints(config, Reactor())
        inner = Factory()
        wrapped = outcome(endpoint.listen(inner))
        assert isinstance(wrapped, TLSMemoryBIOFactory)
        assert wrapped.wrappedFactory is inner

    def test_which_endpoints_have_one_that_can_be_replaced(self, authority: Authority) -> None:
        named = endpoints(self.config(authority), MemoryReactorClock())
        assert [tls_of(endpoint) is not None for _, endpoint in named] == [
            True,
            False,
            True,
            True,
            False,
            True,
        ]

    def test_all_are_read_again_and_replaced_together(self, authority: Authority) -> None:
        config = self.config(authority)
        reactor = MemoryReactorClock()
        named = endpoints(config, reactor)
        before = [tls.options for _, endpoint in named if (tls := tls_of(endpoint))]
        renewal = Renewal(named, reactor)
        assert renewal.prepare(config)() == []
        authority.certificate()
        commit = renewal.prepare(config)
        assert len(commit()) == 4
        after = [tls.options for _, endpoint in named if (tls := tls_of(endpoint))]
        assert not {id(each) for each in before} & {id(each) for each in after}
        assert reactor.tcpServers == []

    def test_clients_are_asked_on_their_ports_and_operators_are_not(
        self, authority: Authority
    ) -> None:
        config = attrs.evolve(self.config(authority), tls_client_ca=str(authority.file))
        reactor = MemoryReactorClock()
        described = config.listen[1]
        named = [*endpoints(config, reactor), listening.endpoint("--admin", described, reactor)]
        ports = [tls for _, endpoint in named if (tls := tls_of(endpoint))]
        assert [each.options.verify for each in ports] == [True] * 4 + [False]
        config = attrs.evolve(config, admin=described, tls_client_ca="")
        renewal = Renewal(named, reactor)
        assert renewal.prepare(config)() == [
            f"certificate of {name} (other authorities of clients)"
            for name, endpoint in named[:-1]
            if tls_of(endpoint)
        ]
        assert not any(each.options.verify for each in ports)

    def test_the_ends_of_all_are_known_and_told_at_a_reload(self, authority: Authority) -> None:
        config = self.config(authority)
        reactor = MemoryReactorClock()
        reactor.advance(time.time())
        renewal = Renewal(endpoints(config, reactor), reactor)
        assert {(each.port.split(":")[0], each.certificate) for each in renewal.expiries()} == {
            ("--port 0", "localhost"),
            ("--listen ssl", "localhost"),
            ("--listen haproxy", "localhost"),
        }
        for warns, count in ((True, 3), (False, 0)):
            log = Logged()
            globalLogPublisher.addObserver(log)
            try:
                Renewal(endpoints(config, reactor), reactor, warns).prepare(config)()
            finally:
                globalLogPublisher.removeObserver(log)
            assert log.text.count("renew it, and send SIGHUP") == count

    def test_where_one_cannot_be_read_none_is_replaced(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        key, certificate = authority.certificate("a.example")
        config = attrs.evolve(
            self.config(authority), tls_cert=(str(certificate),), tls_key=(str(key),)
        )
        reactor = MemoryReactorClock()
        named = endpoints(config, reactor)
        before = [tls.options for _, endpoint in named if (tls := tls_of(endpoint))]
        authority.certificate("a.example")
        (tmp_path / "localhost.crt").unlink()
        with pytest.raises(ConfigError, match=r"--listen ssl:1:.* No such file"):
            Renewal(named, reactor).prepare(config)
        after = [tls.options for _, endpoint in named if (tls := tls_of(endpoint))]
        assert after == before
