from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsservice.client.trace import HandshakeTrace
from wsservice.client.web.negotiation import NegotiationError, http_connect, socks5
from wsservice.client.web.proxies import parse_proxy


class Talk:
    """One negotiation, in octets."""

    def __init__(
        self,
        how: Callable[..., Any],
        proxy: str = "http://p",
        host: str = "a.example",
        port: int = 80,
    ) -> None:
        self.lines: list[str] = []
        self._steps = how(parse_proxy(proxy), host, port, HandshakeTrace(self.lines.append))
        self.said: bytes = next(self._steps)

    def hear(self, data: bytes) -> bytes:
        """Send it octets, one by one; gives what it says to the last."""
        said = b""
        for octet in data:
            said = self._steps.send(bytes([octet]))
        return said

    def end(self, data: bytes) -> bytes:
        """The same, with what is too much once it is done."""
        with pytest.raises(StopIteration) as caught:
            self._steps.send(data)
        rest: bytes = caught.value.value
        return rest

    def fail(self, data: bytes) -> str:
        with pytest.raises(NegotiationError) as caught:
            self._steps.send(data)
        return str(caught.value)


class TestConnect:
    def test_it_asks_for_host_and_port(self) -> None:
        assert Talk(http_connect).said == (
            b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n"
        )
        assert Talk(http_connect, host="::1").said.startswith(b"CONNECT [::1]:80 ")

    def test_it_logs_in_and_does_not_show_how(self) -> None:
        talk = Talk(http_connect, "http://u:p@p")
        assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in talk.said
        assert "> Proxy-Authorization: Basic ********" in talk.lines

    def test_answers_of_1xx_are_passed_over(self) -> None:
        talk = Talk(http_connect)
        said = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
        assert talk.hear(said) == b""
        assert talk.end(b"HTTP/1.1 200 OK\r\n\r\nrest") == b"rest"
        assert "< HTTP/1.1 100 Continue" in talk.lines
        at_once = Talk(http_connect)
        assert at_once.end(said + b"HTTP/1.1 200 OK\r\n\r\nrest") == b"rest"

    def test_there_is_an_end_to_them(self) -> None:
        talk = Talk(http_connect)
        assert talk.hear(b"HTTP/1.1 100 \r\n\r\n" * 16) == b""
        assert talk.fail(b"HTTP/1.1 100 \r\n\r\n") == (
            "it sent more than 16 answers 1xx and no final one"
        )

    def test_101_is_no_tunnel(self) -> None:
        assert Talk(http_connect).fail(b"HTTP/1.1 101 X\r\n\r\n") == "it answered 101 X"

    def test_what_comes_behind_the_answer_is_the_servers(self) -> None:
        talk = Talk(http_connect)
        talk.hear(b"HTTP/1.1 200 OK\r\nX: y")
        assert talk.end(b"\r\n\r\nrest") == b"rest"
        assert talk.lines[-3:] == ["< HTTP/1.1 200 OK", "< X: y", "<"]

    @pytest.mark.parametrize(
        ("proxy", "answer", "words"),
        [
            ("http://p", b"HTTP/1.1 403 No\r\n\r\n", "it answered 403 No"),
            (
                "http://p",
                b"HTTP/1.1 407 No\r\n\r\n",
                "407 No; it wants a name and password, as USER:PASS@",
            ),
            ("http://u@p", b"HTTP/1.1 407\r\n\r\n", "407; it wants another name and password"),
            ("http://p", b"SSH-2.0\r\n\r\n", "its answer is malformed"),
            ("http://p", b"x" * 17_000, ""),
        ],
    )
    def test_it_fails(self, proxy: str, answer: bytes, words: str) -> None:
        talk = Talk(http_connect, proxy)
        if not words:
            assert talk.hear(b"") == b""
            talk._steps.send(answer[:1000])
            assert "head of its answer is too long" in talk.fail(answer)
        else:
            assert words in talk.fail(answer)


class TestSocks:
    def test_a_name_without_a_login(self) -> None:
        talk = Talk(socks5, "socks5h://p", "a.example", 443)
        assert talk.said == b"\5\1\0"
        assert talk.hear(b"\5\0") == b"\5\1\0\3\x09a.example\x01\xbb"
        assert talk.hear(b"\5\0\0\1\x7f\0\0\1\0") == b""
        assert talk.end(b"\x50rest") == b"rest"

    @pytest.mark.parametrize(
        ("host", "address"),
        [("127.0.0.1", b"\1\x7f\0\0\1"), ("::1", b"\4" + bytes(15) + b"\1")],
    )
    def test_an_address(self, host: str, address: bytes) -> None:
        talk = Talk(socks5, "socks5://p", host, 80)
        assert talk.hear(b"\5\0") == b"\5\1\0" + address + b"\0\x50"

    @pytest.mark.parametrize("bound", [b"\1" + bytes(4), b"\4" + bytes(16), b"\3\2ab"])
    def test_whatever_address_it_says_it_has(self, bound: bytes) -> None:
        talk = Talk(socks5, "socks5://p")
        talk.hear(b"\5\0")
        talk.hear(b"\5\0\0" + bound + b"\0")
        assert talk.end(b"\0") == b""

    def test_it_logs_in(self) -> None:
        talk = Talk(socks5, "socks5h://user:pass@p")
        assert talk.said == b"\5\2\0\2"
        assert talk.hear(b"\5\2") == b"\1\4user\4pass"
        assert talk.hear(b"\1\0").startswith(b"\5\1\0\3")
        assert not any("pass" in line for line in talk.lines)

    def test_it_may_be_taken_without(self) -> None:
        talk = Talk(socks5, "socks5h://user:pass@p")
        assert talk.hear(b"\5\0").startswith(b"\5\1\0\3")

    @pytest.mark.parametrize(
        ("proxy", "heard", "words"),
        [
            ("socks5://p", b"HT", "does not speak SOCKS 5"),
            (
                "socks5://p",
                b"\5\xff",
                "no login method that we offer; it wants a name and password, as USER:PASS@",
            ),
            ("socks5://p", b"\5\2", "no login method"),
            ("socks5://u:p@p", b"\5\xff", "no login method that we offer"),
            ("socks5://u:p@p", b"\5\2\1\1", "does not accept the name and password"),
            ("socks5://p", b"\5\0\5\5", "connection refused"),
            ("socks5://p", b"\5\0\5\x63", "error 99"),
            ("socks5://p", b"\5\0\5\0\0\7\0", "its answer is malformed"),
        ],
    )
    def test_it_fails(self, proxy: str, heard: bytes, words: str) -> None:
        talk = Talk(socks5, proxy)
        with pytest.raises(NegotiationError, match=words):
            talk.hear(heard)

    def test_a_name_that_is_too_long(self) -> None:
        assert "too long" in Talk(socks5, "socks5h://p", "a" * 256).fail(b"\5\0")
