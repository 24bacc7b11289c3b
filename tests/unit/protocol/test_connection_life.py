"""How a connection stays, how it is slowed, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.tcp import Connection as TCPConnection

from wsservice.protocol.sending import OVERHEAD_OCTETS, Sent
from wsservice.server.behaviours import EchoServerProtocol, ServerProtocol

from ...support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    Connecting,
    Logged,
    Recorder,
    Served,
    close_payload,
    frame,
)

TIMED_OUT = (CLOSE, close_payload(1011, b"keepalive ping timeout"))


def stall(client: Client) -> Client:
    """Its transport takes no more; in it is nothing yet."""
    client.protocol._queue._last = 0
    client.protocol.pauseProducing()
    return client


class TestKeepalive:
    """With the default settings: a ping after 20 s, dropped after 20 s more."""

    @pytest.mark.parametrize("close_timeout", [5, 0])
    def test_a_silent_peer_is_pinged_then_told_then_dropped(self, close_timeout: float) -> None:
        served = Served(Recorder, close_timeout=close_timeout)
        client = served.connect().open()
        served.clock.advance(19.9)
        assert client.frames() == []
        served.clock.advance(0.1)
        assert client.frames() == [(PING, b"")]
        served.clock.advance(19.9)
        assert client.frames() == []
        served.clock.advance(0.1)
        aborted = [client.aborted]
        assert client.frames() == [TIMED_OUT]
        served.clock.advance(close_timeout or 20)
        aborted.append(client.aborted)
        assert aborted == [False, True]
        client.lose()
        assert client.protocol.seen == [("close", False, 1011)]
        # Apart from those of failed behaviours, which raise an alarm.
        closes = served.factory.counts.closes
        assert (closes["ping timeout"], closes["1011"]) == (1, 0)

    def test_a_peer_that_reads_and_sends_no_pong_learns_why(self, logged: Any) -> None:
        served = Served()
        client = served.connect().open()
        served.clock.pump([20, 20])
        assert TIMED_OUT in client.frames()
        client.close(1011)
        client.lose()
        served.clock.advance(5)
        assert not client.aborted
        assert "closed with 1011: keepalive ping timeout" in logged.text
        assert not served.hub.local_members("")

    @pytest.mark.parametrize("sign", [frame(PONG), frame(PING), frame(TEXT, b"x"), frame(TEXT)[:1]])
    def test_traffic_of_any_kind_is_a_sign_of_life(self, sign: bytes) -> None:
        served = Served()
        client = served.connect().open()
        served.clock.advance(20)
        served.clock.advance(19)
        client.send(sign)
        client.taken()
        served.clock.advance(19)
        assert not client.aborted
        assert client.frames() == []  # nor is it pinged again before the interval is over
        served.clock.advance(1)
        assert client.frames() == [(PING, b"")]

    def test_a_peer_with_traffic_is_never_pinged(self) -> None:
        served = Served()
        client = served.connect().open()
        for _ in range(20):
            served.clock.advance(10)
            client.text("x")
        assert client.taken() == b""

    def test_a_peer_that_reads_what_it_is_sent_is_alive(self) -> None:
        served = Served()
        client = served.connect().open()
        served.clock.advance(20)
        served.clock.advance(10)
        client.protocol.pauseProducing()
        client.protocol.resumeProducing()
        served.clock.advance(10)
        assert not client.aborted

    def test_a_peer_that_we_do_not_listen_to_is_not_called_silent(self) -> None:
        served = Served()
        client = served.connect().open()
        client.protocol.pause_reading()
        served.clock.pump([20] * 10)
        assert not client.aborted

    def test_a_peer_that_takes_none_of_what_waits_for_it_is_silent(self) -> None:
        served = Served(EchoServerProtocol, send_buffer=100)
        client = stall(served.connect().open())
        client.text("x" * 90)
        assert client.transport.is_paused()
        served.clock.pump([20, 20])
        assert not client.aborted
        served.clock.advance(5)
        assert client.aborted

    @pytest.mark.parametrize(("interval", "pings"), [(0, 0), (5, 3)])
    def test_without_a_timeout_nobody_is_dropped(self, interval: float, pings: int) -> None:
        served = Served(ping_interval=interval, ping_timeout=0)
        client = served.connect().open()
        served.clock.pump([5, 5, 5])
        assert client.frames() == [(PING, b"")] * pings
        assert not client.aborted


def slow(**settings: Any) -> Client:
    """A client that reads no more."""
    served = Served(**{"send_buffer": 100, "greeting": "", **settings})
    return stall(served.connect().open())


class TestSlowClient:
    def test_what_waits_is_told_to_who_sends(self) -> None:
        client = slow()
        assert client.protocol.sendMessage(b"x") is Sent.QUEUED
        client.protocol.resumeProducing()
        assert client.frames() == [(TEXT, b"x")]
        assert client.protocol.sendMessage(b"y") is Sent.SENT

    def test_it_is_closed_with_1013_and_what_waited_is_counted(self) -> None:
        client = slow(send_buffer=100 + 2 * OVERHEAD_OCTETS)
        protocol = client.protocol
        assert protocol.sendMessage(b"x" * 60) is Sent.QUEUED
        assert protocol.sendMessage(b"y" * 60) is Sent.QUEUED
        assert protocol.sendMessage(b"z") is Sent.SLOW
        assert protocol.sendMessage(b"z") is Sent.CLOSED
        assert client.frames() == [(CLOSE, b"\x03\xf5reads too slowly")]
        assert (protocol.factory.slow_closed, protocol.factory.slow_messages) == (1, 3)

    def test_or_with_the_code_of_the_configuration(self) -> None:
        client = slow(send_buffer=100, overload_code=4013)
        assert client.protocol.sendMessage(b"x" * 60) is Sent.QUEUED
        assert client.protocol.sendMessage(b"y" * 60) is Sent.SLOW
        assert client.frames() == [(CLOSE, close_payload(4013, b"reads too slowly"))]

    def test_or_its_oldest_messages_are_dropped(self) -> None:
        client = slow(slow_client="drop", send_buffer=130 + 3 * OVERHEAD_OCTETS)
        protocol = client.protocol
        sent = [protocol.sendMessage(bytes((48 + n,)) * 28) for n in range(9)]
        assert set(sent) == {Sent.QUEUED}
        protocol.resumeProducing()
        kept = [payload[:1] for _, payload in client.frames()]
        assert kept == [b"6", b"7", b"8"]
        assert protocol.factory.slow_messages == 6

    def test_a_line_says_that_some_are_dropped_once_for_each_connection(
        self, logged: Logged
    ) -> None:
        client = slow(slow_client="drop", send_buffer=130 + 3 * OVERHEAD_OCTETS)
        for _ in range(2):
            stall(client)
            for _ in range(9):
                client.protocol.sendMessage(b"x" * 28)
            client.protocol.resumeProducing()
        assert logged.text.count("reads too slowly: its oldest messages are left out") == 1

    def test_that_some_was_missed_is_never_dropped(self) -> None:
        served = Served(slow_client="drop", send_buffer=300)
        client = served.connect()
        client.ask("/a", "Sec-WebSocket-Protocol: wsservice.v1")
        stall(client)
        client.protocol.tell_gap("a")
        for number in range(9):
            served.hub.publish("a", b"%d" % number * 50)
        client.protocol.resumeProducing()
        said = [json.loads(payload) for _, payload in client.frames()]
        assert said[0] == {"channel": "a", "gap": True}
        assert len(said) < 10
        assert client.protocol.traffic().messages_sent == len(said)

    def test_a_ping_or_pong_says_what_became_of_it(self) -> None:
        client = slow()
        protocol = client.protocol
        assert protocol.sendPing(b"1") is Sent.QUEUED
        assert [protocol.sendPong(each) for each in (b"2", b"3")] == [Sent.QUEUED] * 2
        protocol.resumeProducing()
        assert client.frames() == [(PING, b"1"), (PONG, b"3")]
        assert protocol.sendPong() is Sent.SENT
        for send in (protocol.sendPing, protocol.sendPong):
            with pytest.raises(ValueError, match="126 octets are not allowed"):
                send(b"x" * 126)
            with pytest.raises(TypeError, match="a payload is bytes, not str"):
                send("x")
        client.taken()
        protocol.close()
        assert protocol.sendPing() is Sent.CLOSED
        assert protocol.sendPong(b"x") is Sent.CLOSED
        assert client.frames() == [(CLOSE, close_payload(1000))]
        # As to whoever is asked by a name of Autobahn's, of whatever is no message.
        assert protocol.traffic().messages_sent == 0

    def test_a_control_frame_is_never_dropped(self) -> None:
        client = slow(slow_client="drop")
        client.protocol.sendPing(b"ping")
        for _ in range(9):
            client.protocol.sendMessage(b"x" * 50)
        client.protocol.resumeProducing()
        assert client.frames()[0] == (PING, b"ping")

    def test_one_message_may_be_larger_than_the_buffer(self) -> None:
        client = slow()
        assert client.protocol.sendMessage(b"x" * 1000, True) is Sent.QUEUED
        client.protocol.resumeProducing()
        assert client.frames() == [(BINARY, b"x" * 1000)]

    def test_only_the_last_pong_waits_for_it(self) -> None:
        client = slow()
        for n in range(1000):
            client.send(frame(PING, b"%d" % n))
        client.protocol.resumeProducing()
        assert client.frames() == [(PONG, b"999")]

    def test_a_client_that_reads_gets_a_pong_for_each_ping(self) -> None:
        client = Served().connect().open()
        client.send(frame(PING, b"1") + frame(PING, b"2"))
        assert client.frames() == [(PONG, b"1"), (PONG, b"2")]

    def test_who_reads_its_answers_slowly_is_read_slowly_and_not_punished(self) -> None:
        client = stall(Served(EchoServerProtocol, send_buffer=100).connect().open())
        client.send(frame(TEXT, b"x" * 28) * 9)
        assert client.transport.is_paused()
        answers = []
        while client.transport.is_paused():
            client.protocol.resumeProducing()
            answers += client.frames()
            stall(client)
        client.protocol.resumeProducing()
        answers += client.frames()
        assert answers == [(TEXT, b"x" * 28)] * 9

    def test_a_producer_is_paused_while_much_waits(self) -> None:
        class Producer:
            calls: list[str] = []

            def pauseProducing(self) -> None:
                self.calls.append("pause")

            def resumeProducing(self) -> None:
                self.calls.append("resume")

        client = slow(send_buffer=100 + 4 * OVERHEAD_OCTETS)
        client.protocol.registerProducer(Producer(), True)
        client.protocol.sendMessage(b"x" * 40)
        assert Producer.calls == []
        client.protocol.sendMessage(b"x" * 40)
        client.protocol.sendMessage(b"x")
        assert Producer.calls == ["pause"]
        client.protocol.resumeProducing()
        assert Producer.calls == ["pause", "resume"]

    def test_a_pull_producer_is_refused(self) -> None:
        with pytest.raises(TypeError, match="push"):
            slow().protocol.registerProducer(object(), False)


class HalfClosing(TCPConnection):
    """A TCP transport that only notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = b""
        self.dataBuffer = b""

    def __getattribute__(self, name: str) -> Any:
        if name in {
            "loseConnection",
            "loseWriteConnection",
            "abortConnection",
            "pauseProducing",
            "resumeProducing",
        }:
            return lambda: self.asked.append(name)
        if name in {"registerProducer", "unregisterProducer", "setTcpNoDelay"}:
            return lambda *_: None
        return super().__getattribute__(name)

    def write(self, data: bytes) -> None:
        self.sent += data

    offset = _tempDataLen = 0

    def fileno(self) -> int:
        return -1

    def getPeer(self) -> Any:
        return None

    getHost = getPeer


def over_tcp(served: Served) -> tuple[Any, HalfClosing]:
    protocol: Any = served.factory.buildProtocol(None)
    transport = HalfClosing()
    client = Client(protocol).open()
    protocol.transport = transport
    protocol._reader.tcp = transport
    protocol._queue._write = transport.write
    del client
    return protocol, transport


class TestEnding:
    def test_a_close_frame_is_followed_by_half_a_close_and_reading_goes_on(self) -> None:
        served = Served()
        protocol, transport = over_tcp(served)
        protocol.dataReceived(frame(TEXT, b"\xff"))
        assert transport.sent.startswith(b"\x88")
        assert transport.asked == ["loseWriteConnection", "resumeProducing"]
        protocol.dataReceived(b"whatever it still sends")
        protocol.writeConnectionLost()
        protocol.readConnectionLost()
        assert transport.asked[2:] == ["loseConnection"]

    def test_who_keeps_tcp_open_after_the_close_is_dropped(self) -> None:
        served = Served(close_timeout=5)
        protocol, transport = over_tcp(served)
        protocol.dataReceived(frame(3))
        served.clock.advance(4.9)
        assert "abortConnection" not in transport.asked
        served.clock.advance(0.1)
        assert transport.asked[-1] == "abortConnection"

    def test_what_the_peer_did_not_take_by_then_is_in_the_log(self, logged: Logged) -> None:
        served = Served(close_timeout=5)
        protocol, transport = over_tcp(served)
        protocol.dataReceived(frame(CLOSE))
        transport.dataBuffer = b"x" * 7000
        served.clock.advance(5)
        assert transport.asked[-1] == "abortConnection"
        assert "dropped: the peer did not take 7000 octets in time" in logged.text

    def test_after_a_closing_handshake_tcp_ends_at_once(self) -> None:
        protocol, transport = over_tcp(Served())
        protocol.dataReceived(frame(CLOSE))
        assert transport.asked == ["loseConnection"]

    def test_it_needs_no_turn_of_its_own_where_all_has_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served = Served()
        ended: list[object] = []

        def end(transport: object) -> bool:
            ended.append(transport)
            return True

        monkeypatch.setattr(served.factory.turns, "end", end)
        protocol, transport = over_tcp(served)
        protocol.dataReceived(frame(CLOSE))
        assert (ended, transport.asked) == ([transport], [])

    def test_it_waits_for_octets_that_have_not_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        served = Served()
        monkeypatch.setattr(served.factory.turns, "end", lambda _: True)
        protocol, transport = over_tcp(served)
        transport.dataBuffer = b"what waits"
        protocol.dataReceived(frame(CLOSE))
        assert transport.asked == ["loseConnection"]

    def test_who_half_closes_gets_what_it_is_owed_and_the_end(self) -> None:
        served = Served(EchoServerProtocol)
        protocol, transport = over_tcp(served)
        protocol.pauseProducing()
        protocol.dataReceived(frame(TEXT, b"last words"))
        protocol.readConnectionLost()
        assert transport.sent.endswith(b"last words")
        assert transport.asked == ["loseConnection"]

    def test_a_peer_that_breaks_a_rule_is_read_no_more(self) -> None:
        seen: list[bytes] = []

        class Seeing(ServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                seen.append(payload)

        client = Served(Seeing).connect().open()
        client.send(frame(TEXT, b"good") + frame(3, b"") + frame(TEXT, b"late"))
        client.send(frame(TEXT, b"later"))
        assert seen == [b"good"]
        assert [opcode for opcode, _ in client.frames()] == [CLOSE]

    def test_the_1024th_open_fragment_is_taken_and_the_next_closes_with_1008(self) -> None:
        client = Served(ping_interval=0).connect().open()
        client.send(frame(TEXT, b"a", fin=False) + frame(0, b"", fin=False) * 1023)
        assert client.frames() == []
        client.send(frame(0, b"", fin=False))
        assert client.frames() == [(CLOSE, b"\x03\xf0too many fragments")]

    def test_fragments_are_counted_for_each_message_anew(self) -> None:
        client = Served(EchoServerProtocol, max_fragments=2).connect().open()
        client.send((frame(TEXT, b"a", fin=False) + frame(0, b"b", fin=False) + frame(0, b"c")) * 3)
        assert client.frames() == [(TEXT, b"abc")] * 3

    def test_a_client_too_ends_what_its_server_does_not(self) -> None:
        connecting = Connecting(close_timeout=5)
        server = connecting.server.accept()
        connecting.protocol.sendClose(1000)
        server.send(frame(CLOSE, b"\x03\xe8", masked=False))
        connecting.clock.advance(5)
        assert server.aborted
