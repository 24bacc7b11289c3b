from __future__ import annotations

import pytest

from wsservice.client.answer import FirstLine, check_one_reading, parse_head


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
        with pytest.raises(ValueError, match=r"it does not begin|a line of its head"):
            parse_head(head)

    @pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028"])
    def test_what_others_take_for_a_line_end_is_found(self, end: str) -> None:
        with pytest.raises(ValueError, match="control character"):
            check_one_reading(f"HTTP/1.1 101 a\r\nX: y{end}z".encode())
        check_one_reading("HTTP/1.1 101 å\r\nX: y".encode())


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
