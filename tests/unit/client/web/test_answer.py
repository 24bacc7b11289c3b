from __future__ import annotations

import pytest

from wsservice.client.web.answer import FirstLine, for_autobahn, parse_head


class TestParseHead:
    def test_what_it_says(self) -> None:
        answer = parse_head(b"HTTP/1.1 301 Moved Away\r\nLocation: \t/x \r\nx-a:\r\nX-A: \xe9")
        assert (answer.status, answer.reason) == (301, "Moved Away")
        assert answer.headers == (("Location", "/x"), ("x-a", ""), ("X-A", "é"))
        assert answer.header("location") == "/x"
        assert answer.header("X-a") == ""
        assert answer.header("nothing") is None

    def test_a_reason_may_be_missing(self) -> None:
        assert parse_head(b"HTTP/1.0 200").reason == ""

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"HTTP/2 200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 \xb2\xb2\xb2 OK",
            b"HTTP/1.1 200 a\nb",
            b"HTTP/1.1 200 OK\r\nno colon",
            b"HTTP/1.1 200 OK\r\n: no name",
            b"HTTP/1.1 200 OK\r\nna me: x",
            b"HTTP/1.1 200 OK\r\nX: a\rb",
            b"HTTP/1.1 200 OK\r\nX: a\0b",
            b"HTTP/1.1 200 OK\r\n folded: x",
        ],
    )
    def test_what_makes_no_sense_is_refused(self, head: bytes) -> None:
        with pytest.raises(ValueError, match=r"it is not HTTP|a malformed header line"):
            parse_head(head)

    def test_repeated_headers_are_joined(self) -> None:
        answer = parse_head(b"HTTP/1.1 101 a\r\nX: y\r\nA: b\r\nx: z")
        assert answer.joined() == {"x": "y, z", "a": "b"}


class TestForAutobahn:
    """The answer as Autobahn gets it: without anything that `str.splitlines` would split."""

    JUDGED = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x"

    def shown(self, head: bytes) -> bytes:
        return for_autobahn(head, parse_head(head))

    @pytest.mark.parametrize("octet", [0x80, 0x85, 0xA0, 0xFF])
    def test_octets_of_a_value_do_not_reach_it(self, octet: int) -> None:
        more = b"X: a%cb\r\nSet-Cookie: n=%c" % (octet, octet)
        head = b"HTTP/1.1 101 %c\r\n%s\r\n%s" % (octet, more, self.JUDGED)
        assert self.shown(head) == b"HTTP/1.1 101\r\n" + self.JUDGED + b"\r\n\r\n"

    @pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
    def test_nor_do_the_line_ends_of_Unicode(self, end: str) -> None:
        head = f"HTTP/1.1 101 a\r\nX: y{end}Sec-WebSocket-Accept: z\r\n".encode() + self.JUDGED
        assert len(self.shown(head).decode().splitlines()) == 5

    @pytest.mark.parametrize("octet", [0x0B, 0x0C, 0x1C, 0x1D, 0x1E])
    @pytest.mark.parametrize("line", [b"HTTP/1.1 101 a%cb", b"HTTP/1.1 101 a\r\nX: a%cb"])
    def test_control_characters_that_may_end_a_line_are_refused(
        self, line: bytes, octet: int
    ) -> None:
        with pytest.raises(ValueError, match="control character"):
            self.shown(line % octet)

    @pytest.mark.parametrize(
        "line",
        [b"Upgrade: websocket\x85", b"sec-websocket-protocol: \xc2\x85", b"Connection: \x1b"],
    )
    def test_what_it_decides_by_is_printable_ASCII(self, line: bytes) -> None:
        with pytest.raises(ValueError, match="not printable ASCII"):
            self.shown(b"HTTP/1.1 101 a\r\n" + line)

    def test_the_version_and_repeated_headers_stay(self) -> None:
        head = b"HTTP/1.0 101 a\r\n" + self.JUDGED + b"\r\nSec-WebSocket-Accept: y"
        assert self.shown(head) == head.replace(b" a\r\n", b"\r\n") + b"\r\n\r\n"


class TestFirstLine:
    def first(self, headers: str = "") -> FirstLine:
        head = "\r\n".join(["HTTP/1.1 401 No", *([headers] if headers else [])])
        return FirstLine(parse_head(head.encode()))

    def test_it_is_the_first_that_says_something(self) -> None:
        line = self.first()
        assert not line.feed(b"\r\n  \n tok")
        assert not line.feed(b"en expired ")
        assert line.feed(b"\r\nand more")
        assert line.text == "token expired"

    def test_a_length_ends_it(self) -> None:
        line = self.first("Content-Length: 4")
        assert not line.feed(b"abc")
        assert line.feed(b"def")
        assert line.text == "abcd"

    def test_no_body_is_no_line(self) -> None:
        line = self.first("Content-Length: 0")
        assert line.feed(b"")
        assert line.text == ""

    def test_a_length_that_is_none_does_not_count(self) -> None:
        assert not self.first("Content-Length: x").feed(b"abc")

    def test_chunks_are_joined(self) -> None:
        line = self.first("Transfer-Encoding: Chunked")
        assert not line.feed(b"3\r\nabc\r\n2;x=y\r\nd")
        assert line.text == "abcd"
        assert line.feed(b"e\r\n0\r\n\r\n")
        assert line.text == "abcde"

    def test_chunks_that_are_none_say_nothing(self) -> None:
        line = self.first("Transfer-Encoding: chunked")
        assert not line.feed(b"nonsense\r\n")
        assert line.text == ""

    @pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked"])
    def test_no_more_than_enough_is_read(self, headers: str) -> None:
        assert self.first(headers).feed(b"x" * 20_000)

    def test_what_is_packed_is_not_shown(self) -> None:
        line = self.first("Content-Encoding: gzip")
        assert line.feed(b"\x1f\x8b\n")
        assert line.text == ""

    def test_octets_that_are_no_text_are_replaced(self) -> None:
        line = self.first()
        assert line.feed(b"\xff\n")
        assert line.text == "\ufffd"
