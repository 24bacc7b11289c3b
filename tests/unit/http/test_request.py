"""request.py: what is accepted, what is refused and how, and at what cost."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.http.refusal import Refusal
from wsservice.http.request import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_TARGET,
    PlainRequest,
    Request,
    RequestReader,
)
from wsservice.http.target import Host, parse_authority, parse_host

UPGRADE = (("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = [
    ("Host", "example.com:8080"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]


def head(*more: str, line: str = "GET /chat HTTP/1.1", **changed: str | None) -> bytes:
    """A right request, with headers added, changed or (None) taken out, `_` for `-`."""
    changes = {name.replace("_", "-").lower(): value for name, value in changed.items()}
    lines = [line]
    for name, value in HEADERS:
        wanted = changes.get(name.lower(), value)
        if wanted is not None:
            lines.append(f"{name}: {wanted}")
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


def read(octets: bytes) -> Request | PlainRequest | Refusal | None:
    return RequestReader().feed(octets)


def accepted(octets: bytes) -> Request:
    outcome = read(octets)
    assert isinstance(outcome, Request), outcome
    return outcome


def refused(octets: bytes) -> Refusal:
    outcome = read(octets)
    assert isinstance(outcome, Refusal), outcome
    return outcome


def read_in(chunks: list[bytes]) -> Request | PlainRequest | Refusal | None:
    reader = RequestReader()
    outcome = None
    for chunk in chunks:
        outcome = reader.feed(chunk)
    return outcome


def test_a_request() -> None:
    request = accepted(head("X-Y: z", "Origin: http://example.com", line="GET /a?b?c HTTP/1.1"))
    assert request.target == "/a?b?c"
    assert request.path == "/a"
    assert request.query == "b?c"
    assert request.host == Host("example.com", 8080)
    assert request.origin == "http://example.com"
    assert request.subprotocols == ()
    assert request.headers["x-y"] == "z"


@pytest.mark.parametrize(
    "octets",
    [
        head().replace(b": ", b":"),
        head().replace(b": ", b": \t ").replace(b"\r\n", b" \t\r\n").replace(b"1.1 \t", b"1.1")[:-6]
        + b"\r\n\r\n",
        head().upper().replace(KEY.upper().encode(), KEY.encode()),
        head().lower().replace(b"get", b"GET").replace(b"http/1.1", b"HTTP/1.1"),
        head(Connection="keep-alive, Upgrade"),
        head("Connection: keep-alive", "Connection: close"),
        head("Connection: upgrade", Connection=None),
        head("Connection: keep-alive", "Connection: , uPgRaDe ,", Connection=None),
        head(Upgrade="h2c, WebSocket"),
        head("Upgrade: h2c"),
        head("Content-Length: 0"),
        head("X-Empty:"),
        head("Sec-WebSocket-Extensions: a;b=c", "Sec-WebSocket-Extensions: d"),
        head("Cookie: name=Voil\xc3\xa0"),
        head(line="GET //x/../%zz;a=1|[] HTTP/1.1"),
        head(line="GET /" + "a" * (MAX_TARGET - 1) + " HTTP/1.1"),
        head(*["X: y"] * (MAX_HEADERS - len(HEADERS))),
        head("X: " + "y" * (MAX_HEAD - len(head("X: ")))),
    ],
)
def test_variants_that_are_right(octets: bytes) -> None:
    assert accepted(octets)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (405, "POST / HTTP/1.1"),
        (405, "TRACE / HTTP/1.1"),
        (501, "get / HTTP/1.1"),
        (501, "BREW / HTTP/1.1"),
        (405, "CONNECT example.com:443 HTTP/1.1"),
        (405, "OPTIONS * HTTP/1.1"),
        (505, "GET / HTTP/1.0"),  # a handshake
        (505, "GET / HTTP/1.2"),
        (505, "PRI * HTTP/2.0"),
        (400, "GET /"),
        (400, "GET"),
        (400, ""),
        (400, " GET / HTTP/1.1"),
        (400, "GET  / HTTP/1.1"),
        (400, "GET\t/ HTTP/1.1"),
        (400, "GET / HTTP/1.1 "),
        (400, "GET / HTTP/11"),
        (400, "GET / http/1.1"),
        (400, "GET / HTTP/0.9 x"),
        (400, "GET /a b HTTP/1.1"),
        (400, "GET /\x00 HTTP/1.1"),
        (400, "GET /\x7f HTTP/1.1"),
        (400, "GET /\x85 HTTP/1.1"),
        (400, "GET /\r HTTP/1.1"),
        (400, "GET /\xe9 HTTP/1.1"),
        (400, "GET /a#b HTTP/1.1"),
        (400, "GET * HTTP/1.1"),
        (400, "GET http://example.com/ HTTP/1.1"),
        (400, "GET http://example.com:80/ HTTP/1.1"),
        (400, "GET http://example.com:8081/ HTTP/1.1"),
        (400, "GET http://evil.example:8080/ HTTP/1.1"),
        (400, "GET http://example.com.:8080/ HTTP/1.1"),
        (400, "GET http://user@example.com:8080/ HTTP/1.1"),
        (400, "GET http://user:x@example.com:8080/ HTTP/1.1"),
        (400, "GET http://@example.com:8080/ HTTP/1.1"),
        (400, "GET http://example.com:8080@evil.example/ HTTP/1.1"),
        (400, "GET http://example.com:8080\\@evil.example/ HTTP/1.1"),
        (400, "GET http://example.com:8080/#a HTTP/1.1"),
        (400, "GET http://example.com:8080#a HTTP/1.1"),
        (400, "GET http://ex%61mple.com:8080/ HTTP/1.1"),
        (400, "GET ftp://example.com:8080/ HTTP/1.1"),
        (400, "GET file:///etc HTTP/1.1"),
        (400, "GET http:///chat HTTP/1.1"),
        (400, "GET http:// HTTP/1.1"),
        (400, "GET http:/chat HTTP/1.1"),
        (400, "GET http:example.com:8080/ HTTP/1.1"),
        (400, "GET ://example.com:8080/ HTTP/1.1"),
        (400, "GET example.com:8080/ HTTP/1.1"),
        (400, "GET example.com HTTP/1.1"),
        (414, "GET /" + "a" * MAX_TARGET + " HTTP/1.1"),
        (414, "GET /" + "a" * 2 * MAX_HEAD + " HTTP/1.1"),
    ],
)
def test_request_lines(status: int, line: str) -> None:
    assert refused(head(line=line)).status == status


def test_405_names_the_methods_to_use() -> None:
    assert refused(head(line="POST / HTTP/1.1")).headers == (("Allow", "GET, HEAD"),)


@pytest.mark.parametrize("upgrade", [None, "", "h2c", "h2c, x-websocket"])
def test_who_names_no_websocket_asks_in_plain_HTTP(upgrade: str | None) -> None:
    octets = head("Accept: a", "Accept: b", line="GET /a?b HTTP/1.1", Upgrade=upgrade)
    asked = read(octets)
    assert isinstance(asked, PlainRequest)
    assert (asked.method, asked.target, asked.headers["accept"]) == ("GET", "/a?b", "a, b")
    assert read_in(chunks_of(octets)) == asked


def test_HEAD_never_asks_for_more_than_a_head() -> None:
    asked = read(head(line="HEAD / HTTP/1.1"))
    assert isinstance(asked, PlainRequest)
    assert (asked.method, asked.target) == ("HEAD", "/")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "wrong",
    [
        "Host: a",
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "X : y",
    ],
)
def test_plain_HTTP_is_read_as_strictly(method: str, wrong: str) -> None:
    right = f"{method} / HTTP/1.1\r\nHost: a\r\n"
    assert isinstance(read(f"{right}\r\n".encode()), PlainRequest)
    assert refused(f"{right}{wrong}\r\n\r\n".encode()).status == 400
    assert refused(f"{method} / HTTP/1.1\r\n\r\n".encode()).status == 400
    # HTTP/1.0 has no Host; all else is the same (RFC 9112, 3.2).
    old = right.replace("1.1", "1.0")
    assert isinstance(read(f"{old}\r\n".encode()), PlainRequest)
    assert isinstance(read(f"{method} / HTTP/1.0\r\n\r\n".encode()), PlainRequest)
    assert refused(f"{old}{wrong}\r\n\r\n".encode()).status == 400
    assert refused(f"{method} / HTTP/1.0\r\nHost: a b\r\n\r\n".encode()).status == 400


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss", "HTTP", "Ws"])
@pytest.mark.parametrize(
    ("rest", "target"),
    [("/a?b", "/a?b"), ("", "/"), ("?a=http://b", "/?a=http://b"), ("//x/", "//x/"), ("/@", "/@")],
)
def test_an_absolute_target_is_a_path_with_a_host(scheme: str, rest: str, target: str) -> None:
    octets = head(line=f"GET {scheme}://EXAMPLE.com:8080{rest} HTTP/1.1")
    request = accepted(octets)
    assert (request.target, request.host) == (target, Host("example.com", 8080))
    assert request.headers["host"] == "EXAMPLE.com:8080"
    assert read_in(chunks_of(octets)) == request


@pytest.mark.parametrize(
    ("url", "host", "is_same"),
    [
        ("http://a", "a:80", True),
        ("http://a:80", "a", True),
        ("https://a", "a:443", True),
        ("wss://a:443", "a", True),
        ("http://a:", "a:80", True),
        ("http://a", "a:", True),
        ("http://[0:0::1]", "[::1]:80", True),
        ("https://a", "a:80", False),
        ("http://a:443", "a", False),
        ("http://a", "b", False),
        ("http://a", "a.", False),
    ],
)
def test_its_host_is_that_of_the_header(url: str, host: str, is_same: bool) -> None:
    outcome = read(head(line=f"GET {url}/ HTTP/1.1", Host=host))
    if is_same:
        assert isinstance(outcome, Request)
        assert outcome.host == parse_authority(url.partition("//")[2])
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.status == 400


def test_an_absolute_target_needs_no_Host_by_HTTP_1_0_only() -> None:
    for version, kind in (("1.0", PlainRequest), ("1.1", Refusal)):
        octets = f"GET http://a/health HTTP/{version}\r\n\r\n".encode()
        assert isinstance(read(octets), kind)


@pytest.mark.parametrize(
    "headers",
    [
        "Upgrade: websocket\r\nConnection: upgrade",
        f"Connection: close\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13",
    ],
)
def test_a_handshake_by_HTTP_1_0_names_the_setting_of_the_gateway(headers: str) -> None:
    refusal = refused(f"GET / HTTP/1.0\r\nHost: a\r\n{headers}\r\n\r\n".encode())
    assert refusal.status == 505
    assert b"proxy_http_version 1.1" in refusal.body
    assert "proxy_http_version 1.1" in refusal.reason


@pytest.mark.parametrize("host", ["localhost:", "[::1]:", "127.0.0.1:"])
def test_an_empty_port_is_none(host: str) -> None:
    assert accepted(head(Host=host)).host == Host(host[:-1])


@pytest.mark.parametrize("octet", [0, 9, 10, 13, 32, 127, 128, 255, ord("("), ord("{")])
def test_a_first_octet_that_begins_no_method_is_refused_at_once(octet: int) -> None:
    assert refused(bytes([octet])).status == 400


def test_TLS_gets_no_answer() -> None:
    assert refused(b"\x16").status is None


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
def test_octets_that_no_header_may_have(octet: int) -> None:
    assert refused(head(f"X: a{chr(octet)}b")).status == 400
    assert refused(head(f"X{chr(octet)}: a")).status == 400


@pytest.mark.parametrize("again", [(), ("X: y",)], ids=["at once", "line by line"])
def test_octets_that_a_value_may_have(again: tuple[str, ...]) -> None:
    for octet in (9, *range(32, 127), *range(128, 256)):
        value = f"a{chr(octet)}b"
        request = accepted(head(f"X: {value}", *again))
        assert request.headers["x"] == ", ".join([value, *(["y"] * len(again))])


@pytest.mark.parametrize("text", ["\xc5se", "w\u0105\u017c", "\u2026", "\U0001f645", "\x85"])
def test_text_of_any_script_in_a_header(text: str) -> None:
    octets = head().replace(b"Host:", f"Cookie: name={text}\r\nHost:".encode())
    assert accepted(octets).headers["cookie"] == f"name={text}".encode().decode("latin-1")
    assert read_in(chunks_of(octets)) == read(octets)


@pytest.mark.parametrize(
    "line",
    [
        "X : y",
        ": y",
        "X",
        " X: y",
        "X: y\r\n folded",
        "X: y\r\n\tfolded",
        "X(: y",
        "X\xe9: y",
        "X: y\nZ: z",
        "X: y\rZ: z",
        "Host: example.com:8080",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "Origin: http://a\r\nOrigin: http://a",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 1",
        "Content-Length: 00",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Sec-WebSocket-Protocol: a, b, a",
        "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a",
        "Sec-WebSocket-Protocol: a b",
        "Sec-WebSocket-Protocol: \xe9",
    ],
)
def test_headers_that_are_refused(line: str) -> None:
    assert refused(head(line)).status == 400


def test_a_folded_first_header() -> None:
    assert refused(head().replace(b"\r\nHost", b"\r\n Host")).status == 400


@pytest.mark.parametrize("octets", [head().replace(b"\r\n", b"\n"), head()[:-2] + b"\n"])
def test_bare_line_feeds(octets: bytes) -> None:
    assert refused(octets).status == 400


@pytest.mark.parametrize(
    ("name", "value", "status", "headers"),
    [
        ("Host", None, 400, ()),
        ("Host", "", 400, ()),
        ("Host", "a b", 400, ()),
        ("Connection", None, 400, ()),
        ("Connection", "keep-alive", 400, ()),
        ("Connection", "upgrades", 400, ()),
        ("Sec-WebSocket-Version", None, 426, UPGRADE),
        ("Sec-WebSocket-Version", "8", 426, UPGRADE),
        ("Sec-WebSocket-Version", "13, 8", 426, UPGRADE),
        ("Sec-WebSocket-Version", "013", 426, UPGRADE),
        ("Sec-WebSocket-Key", None, 400, ()),
        ("Sec-WebSocket-Key", "", 400, ()),
        ("Sec-WebSocket-Key", KEY[:-1], 400, ()),
        ("Sec-WebSocket-Key", "A" * 24, 400, ()),
        ("Sec-WebSocket-Key", "A" * 21 + "-==", 400, ()),
        ("Sec-WebSocket-Key", KEY + ", " + KEY, 400, ()),
    ],
)
def test_what_a_handshake_needs(
    name: str, value: str | None, status: int, headers: tuple[tuple[str, str], ...]
) -> None:
    refusal = refused(head(**{name.replace("-", "_"): value}))  # type: ignore[arg-type]
    assert (refusal.status, refusal.headers) == (status, headers)


@pytest.mark.parametrize(
    "octets",
    [
        head(*["X: y"] * (MAX_HEADERS - len(HEADERS) + 1)),
        b"GET / HTTP/1.1\r\n" + b"a\r\n" * 300_000,
        b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD,
        head("X: " + "y" * (MAX_HEAD - len(head("X: ")) + 1)),
    ],
    ids=["headers", "many", "endless", "one octet"],
)
def test_too_much(octets: bytes) -> None:
    limit = b"a\r\n" in octets  # there the lines are counted before they are found to be none
    assert refused(octets).status == (400 if limit else 431)


def test_300000_headers() -> None:
    assert refused(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 300_000).status == 431


@pytest.mark.parametrize("more", [b"G", b"\x81\x80\0\0\0\0", head()])
def test_octets_after_the_request(more: bytes) -> None:
    assert refused(head() + more).status == 400
    full = head("X: " + "y" * (MAX_HEAD - len(head("X: "))))
    assert refused(full + more).status == 400


def test_subprotocols_of_several_lines() -> None:
    request = accepted(head("Sec-WebSocket-Protocol: a,,b ", "sec-websocket-protocol: c"))
    assert request.subprotocols == ("a", "b", "c")
    assert request.headers["sec-websocket-protocol"] == "a, b, c"


@pytest.mark.parametrize("value", ["", " ", ",", " , ,", "\r\nSec-WebSocket-Protocol: "])
def test_an_empty_list_of_subprotocols_is_no_offer(value: str) -> None:
    assert accepted(head(f"Sec-WebSocket-Protocol: {value}")).subprotocols == ()


def test_extensions_of_several_lines_are_one() -> None:
    request = accepted(head("Sec-WebSocket-Extensions: a; b", "Sec-WebSocket-Extensions: c"))
    assert request.headers["sec-websocket-extensions"] == "a; b, c"


def test_no_host_can_be_read_out_of_a_path() -> None:
    request = accepted(head(line="GET //evil.example/x HTTP/1.1"))
    assert request.path == "//evil.example/x"
    assert request.host.name == "example.com"


def test_reasons_are_short_and_the_answer_has_nothing_of_the_peer() -> None:
    refusal = refused(head("X\x1b" + "x" * 8000))
    assert len(refusal.reason) < 200
    assert refusal.headers == ()


def test_the_outcome_stays() -> None:
    reader = RequestReader()
    outcome = reader.feed(head())
    assert outcome is not None
    assert reader.feed(b"more") is outcome
    assert RequestReader().feed(b"") is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("a", Host("a")),
        ("A.Example:80", Host("a.example", 80)),
        ("my_service:1", Host("my_service", 1)),
        ("127.0.0.1:65535", Host("127.0.0.1", 65535)),
        ("[::1]", Host("[::1]")),
        ("[0:0:0:0:0:0:0:1]:8080", Host("[::1]", 8080)),
        ("[::FFFF:192.0.2.1]", parse_host("[::ffff:c000:201]")),
    ],
)
def test_hosts(text: str, host: Host) -> None:
    assert parse_host(text) == host


NO_HOSTS = [
    *("", ":80", "a:b", "a:0", "a:65536", "a:123456", "a:80:80", "::1", "[::1", "[]", "[::g]"),
    *("[::1%eth0]", "[::1]x", "a/b", "u@a", "a,b", "a\n", "\xe9", "a b", "[1.2.3.4]", "a:\u0661"),
]


@pytest.mark.parametrize("text", [*NO_HOSTS, ":", "::", "a::", "a:80:", "[::1]::", "[:"])
def test_what_a_request_cannot_name(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - ipaddress raises some of them
        parse_authority(text)


@pytest.mark.parametrize("text", [*NO_HOSTS, "a:"])
def test_no_hosts(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - ipaddress raises some of them
        parse_host(text)


# Properties

SOME_OCTETS = st.binary(max_size=40) | st.sampled_from(
    [b"\r\n", b"\n", b": ", b"\x85", b" ", b"Host: a\r\n", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    octets = head("Origin: http://a", "X: y", "X: z")
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(octets)))
        end = draw(st.integers(start, min(len(octets), start + 30)))
        octets = octets[:start] + draw(SOME_OCTETS) + octets[end:]
    return octets


@st.composite
def cut(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    return [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]


def chunks_of(octets: bytes) -> list[bytes]:
    return [octets[i : i + 1] for i in range(len(octets))]


@given(st.data(), damaged())
def test_the_cuts_do_not_matter(data: st.DataObject, octets: bytes) -> None:
    end = octets.find(b"\r\n\r\n")
    octets = octets if end < 0 else octets[: end + 4]
    assert read_in(data.draw(cut(octets))) == read(octets)
    assert read_in(chunks_of(octets)) == read(octets)


@pytest.mark.parametrize("size", [MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1])
@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX:"])
def test_the_cuts_do_not_matter_at_the_limits(start: bytes, size: int) -> None:
    octets = start.ljust(size, b"x")
    assert read_in(chunks_of(octets)) == read(octets)


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_nothing_raises(chunks: list[bytes]) -> None:
    read_in(chunks)
    read_in([b"GET / HTTP/1.1\r\n", *chunks])


class CountingArray(bytearray):
    """Counts the octets that are searched."""

    searched = 0

    def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().find(what, start, end)
        last = min(len(self), len(self) if end is None else end)
        self.searched += (last if found < 0 else found + 1) - start
        return found


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize(
    "octets",
    [
        head("X: " + "y" * (MAX_HEAD - len(head("X: ")))),
        b"GET / HTTP/1.1\r\nX: ".ljust(MAX_HEAD, b"y"),
        head(*["X: " + "y" * 150] * 90),
    ],
)
def test_each_octet_is_searched_once(octets: bytes, size: int) -> None:
    reader = RequestReader()
    counted = reader._head = CountingArray()
    for start in range(0, len(octets), size):
        outcome = reader.feed(octets[start : start + size])
    assert outcome is not None
    assert counted is reader._head
    assert counted.searched <= len(octets)
    assert len(counted) <= MAX_HEAD


def test_names_that_a_peer_makes_up_are_freed_with_its_request() -> None:
    # Where interned strings live for ever, one of each would be kept.
    names = list(accepted(head("X-Made-Up: 1")).headers)
    made_up = names.pop(names.index("x-made-up"))
    assert sys.intern("".join(["x-", "made-", "up"])) is not made_up
    assert [*map(id, names)] == [*map(id, accepted(head()).headers)]


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (head(line=f"GET /?{SECRET}"), '"GET..."'),
        (head(line=f"{SECRET} a b"), "10 octets"),
        (head(line=f"Cookie: {SECRET}"), '"Cookie..."'),
        (head(line=f"{SECRET} / HTTP/1.1"), "17 octets"),
        (head(f"Cookie : {SECRET}"), '"Cookie..."'),
        (head(f" {SECRET}"), "7 octets"),
        (head(line=f"GET ftp://a/b?{SECRET} HTTP/1.1"), '"ftp://a/b..."'),
        (head(line=f"GET http://me:{SECRET}@a/ HTTP/1.1"), '"..."'),
        (head(line=f"GET http://a/{SECRET} HTTP/1.1"), '"a" and "example.com:8080"'),
        (head(line=f"GET /a#{SECRET} HTTP/1.1"), '"/a..."'),
        (head(host=f"me:{SECRET}@a"), '"..."'),
        (head(f"Sec-WebSocket-Protocol: {SECRET}, {SECRET}"), ""),
        (
            head().replace(b"Upgrade: websocket\r\n", f"Cookie: {SECRET}\n".encode()),
            '"Cookie..."',
        ),
    ],
)
def test_no_secret_stands_in_a_reason(octets: bytes, shown: str) -> None:
    refusal = refused(octets)
    assert refusal.shown == shown
    assert SECRET not in refusal.reason
    assert SECRET.encode() not in refusal.body
