"""Going on where a lost connection ended, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error

from wsservice.channels.envelopes import SUBPROTOCOL, EnvelopeError, of_gap, of_joining, of_message
from wsservice.channels.query import Position
from wsservice.client.options import ClientConfig
from wsservice.client.resuming import Resuming

from ...support import CLOSE, TEXT, Logged, Server, frame, frames
from .test_service import Client, run
from .test_staying import reached

URL = "ws://user:secret@server.example/news"
CHOSEN = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"


def message(text: str, offset: int, epoch: str = "e", channel: str = "news") -> bytes:
    return of_message(channel, text.encode(), False, 1.0, Position(offset, epoch))


class Resumed:
    """A client's memory, and what it told."""

    def __init__(self, url: str = URL, **settings: Any) -> None:
        self.missed: list[str] = []
        self.resuming = Resuming(
            ClientConfig(url=url, **settings), self.missed.append, lambda: None
        )

    def take(self, *texts: bytes) -> list[bytes]:
        """Take texts, and return the payloads for the behaviour."""
        taken = [self.resuming.take(text, False) for text in texts]
        return [each.payload for each in taken if each is not None and each.payload is not None]

    @property
    def asks(self) -> str:
        return self.resuming.config.target.resource


class TestAsking:
    def test_the_first_time_the_url_is_as_it_was_given(self) -> None:
        resumed = Resumed(URL + "?token=a%20b&&since=")
        assert resumed.asks == "/news?token=a%20b&&since="
        assert Resumed().asks == "/news"

    def test_the_subprotocol_is_offered_after_those_of_the_user(self) -> None:
        assert Resumed().resuming.config.subprotocols == (SUBPROTOCOL,)
        config = Resumed(subprotocols=["chat"]).resuming.config
        assert config.subprotocols == ("chat", SUBPROTOCOL)
        config = Resumed(subprotocols=[SUBPROTOCOL, "chat"]).resuming.config
        assert config.subprotocols == (SUBPROTOCOL, "chat")

    def test_then_it_asks_for_what_comes_after_the_last_message(self) -> None:
        resumed = Resumed()
        assert resumed.take(message("1", 1), message("2", 2)) == [b"1", b"2"]
        assert resumed.asks == "/news?since=2&epoch=e"
        assert resumed.resuming.config.auth == ("user", "secret")

    def test_and_for_the_last_messages_no_more(self) -> None:
        resumed = Resumed(URL + "?history=20&a=1&channel=b")
        assert resumed.asks == "/news?history=20&a=1&channel=b"
        joined = of_joining("news", Position(7, "e"))
        assert resumed.take(joined, message("8", 8), message("9", 9)) == [b"8", b"9"]
        assert resumed.missed == []
        assert resumed.asks == "/news?since=9&epoch=e&a=1&channel=b"

    def test_or_after_where_the_channel_was(self) -> None:
        resumed = Resumed()
        assert resumed.take(of_joining("news", Position(7, "e.1"))) == []
        assert resumed.asks == "/news?since=7&epoch=e.1"
        assert resumed.missed == []

    def test_for_each_channel_beside_its_name_and_leaves_the_rest_as_it_was(self) -> None:
        resumed = Resumed(URL + "?a=1&channel=caf%C3%A9&channel=b&since=3&epoch=old&c")
        resumed.take(
            message("x", 2, channel="news"),
            message("x", 5, "f", channel="café"),
            message("x", 9, channel="another"),
        )
        assert resumed.asks == (
            "/news?since=2&epoch=e&a=1&channel=caf%C3%A9&since=5&epoch=f"
            "&channel=b&since=3&epoch=old&c"
        )

    def test_a_position_given_at_first_is_kept_while_nothing_comes(self) -> None:
        resumed = Resumed(URL + "?since=3&epoch=old")
        assert resumed.asks == "/news?since=3&epoch=old"
        resumed.take(message("x", 4, "old"))
        assert resumed.asks == "/news?since=4&epoch=old"
        assert resumed.missed == []

    def test_a_query_that_is_wrong_is_the_servers_to_refuse(self) -> None:
        resumed = Resumed(URL + "?channel=")
        resumed.take(message("1", 1))
        assert resumed.asks == "/news?channel="

    def test_an_epoch_is_a_query_whatever_is_in_it(self) -> None:
        resumed = Resumed()
        resumed.take(message("1", 1, "a&b=ü"))
        assert resumed.asks == "/news?since=1&epoch=a%26b%3D%C3%BC"

    def test_a_unix_socket_is_asked_too(self) -> None:
        resumed = Resumed("ws+unix:/run/ws.sock:/news?x")
        resumed.take(message("1", 1))
        assert resumed.resuming.config.url == "ws+unix:/run/ws.sock:/news?since=1&epoch=e&x"


class TestTaking:
    def test_a_gap_is_told_and_gone_on_from(self) -> None:
        resumed = Resumed()
        assert resumed.take(message("1", 1), of_gap("news", Position(9, "f"))) == [b"1"]
        assert resumed.missed == ["news"]
        assert resumed.take(message("10", 10, "f")) == [b"10"]
        assert resumed.missed == ["news"]
        assert resumed.asks == "/news?since=10&epoch=f"

    def test_after_one_without_a_place_nothing_is_known(self) -> None:
        resumed = Resumed()
        resumed.take(message("1", 1), of_gap("news", None))
        assert resumed.missed == ["news"]
        assert resumed.asks == "/news"

    def test_a_hole_that_nobody_told_of_is_told(self) -> None:
        resumed = Resumed()
        assert resumed.take(message("1", 1), message("3", 3)) == [b"1", b"3"]
        assert resumed.missed == ["news"]

    def test_so_is_another_place_on_a_connection_that_forgot_what_it_was_asked(self) -> None:
        resumed = Resumed()
        resumed.take(message("1", 1), of_joining("news", Position(1, "e")))
        assert resumed.missed == []
        resumed.take(of_joining("news", Position(3, "e")))
        assert resumed.missed == ["news"]

    def test_the_first_message_of_a_channel_leaves_no_hole(self) -> None:
        resumed = Resumed()
        resumed.take(of_joining("news", Position(0, "e.0")), message("1", 1, "e.1"))
        assert resumed.missed == []
        resumed.take(message("2", 2, "e.3"))
        assert resumed.missed == ["news"]

    def test_what_came_before_is_not_taken_again(self) -> None:
        resumed = Resumed()
        assert resumed.take(message("1", 1), message("1", 1), message("2", 2)) == [b"1", b"2"]
        assert resumed.missed == []

    def test_what_has_no_place_is_a_message_like_any_other(self) -> None:
        resumed = Resumed()
        assert resumed.take(of_message("news", b"hi", False, 1)) == [b"hi"]
        assert resumed.asks == "/news"

    @pytest.mark.parametrize("text", [b"plain", b"{}"])
    def test_what_is_no_envelope_is_an_error(self, text: bytes) -> None:
        with pytest.raises(EnvelopeError):
            Resumed().take(text)
        with pytest.raises(EnvelopeError):
            Resumed().resuming.take(message("1", 1), True)

    def test_channels_that_nobody_asked_for_take_no_memory(self) -> None:
        resumed = Resumed()
        for number in range(100):
            resumed.take(message("x", 1, channel=str(number)))
        assert resumed.resuming._places == {}


class TestAService:
    """`ReconnectingClient`, with `resume`."""

    def accepted(self, client: Client, *headers: str) -> Server:
        return reached(client.reactor).accept(*(headers or (CHOSEN,)))

    def envelopes(self, server: Server, *texts: bytes) -> None:
        server.send(b"".join(frame(TEXT, text, masked=False) for text in texts))

    def test_it_goes_on_where_the_lost_connection_ended(self) -> None:
        client = Client(resume=True)
        read: list[Any] = []
        run(client.read(read))
        server = self.accepted(client)
        here = {"epoch": "e", "channel": ""}
        self.envelopes(
            server,
            of_joining("", Position(0, "e")),
            message("1", 1, **here),
            of_message("", b"\xff", True, 1, Position(2, "e")),
        )
        server.lose(error.ConnectionLost())
        client.reactor.advance(60)
        server = self.accepted(client)
        assert server.request.startswith(b"GET /?since=2&epoch=e HTTP/1.1\r\n")
        self.envelopes(server, message("3", 3, **here))
        assert read == ["1", b"\xff", "3"]

    def test_what_is_gone_is_logged(self, logged: Logged) -> None:
        client = Client(resume=True)
        self.envelopes(self.accepted(client), of_gap("", Position(3, "f")))
        assert "messages of the channel '' were missed" in logged.text

    def test_a_server_that_does_not_speak_it_is_understood_all_the_same(
        self, logged: Logged
    ) -> None:
        client = Client(resume=True)
        read: list[Any] = []
        run(client.read(read))
        server = reached(client.reactor).accept()
        server.send(frame(TEXT, b'{"channel":"a","data":"x"}', masked=False))
        assert read == ['{"channel":"a","data":"x"}']
        assert "the server does not speak wsservice.v1: missed messages are lost" in logged.text

    def test_one_that_says_anything_else_is_left(self) -> None:
        client = Client(resume=True)
        server = self.accepted(client)
        self.envelopes(server, b"plain")
        assert [payload[:2] for opcode, payload in frames(server.taken()) if opcode == CLOSE] == [
            (1007).to_bytes(2, "big")
        ]

    def test_the_largest_message_is_that_in_the_envelope(self) -> None:
        client = Client(resume=True, max_message_size=10)
        read: list[Any] = []
        run(client.read(read))
        server = self.accepted(client)
        self.envelopes(server, of_message("", b"\x01" * 10, False, 1))
        assert read == ["\x01" * 10]
        self.envelopes(server, of_message("", b"x" * 11, False, 1))
        assert read == ["\x01" * 10]
        assert [payload[:2] for opcode, payload in frames(server.taken()) if opcode == CLOSE] == [
            (1009).to_bytes(2, "big")
        ]
