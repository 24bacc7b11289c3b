"""forwarded.py: the client by the headers of trusted proxies, and by nobody else's text."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.http import forwarded
from wsservice.http.forwarded import MOST_HOPS, Forwarding, Node, TrustedProxies, client_of

from ...examples import examples

TRUSTED = TrustedProxies.of(["10.0.0.0/8", "2001:db8:ffff::/48", "unix"])
CLIENT = Node("203.0.113.9")
CLIENT6 = Node("2001:db8::1")


def by_for(value: str, trusted: TrustedProxies = TRUSTED) -> Forwarding:
    return client_of({"x-forwarded-for": value}, trusted)


def by_forwarded(value: str) -> Forwarding:
    return client_of({"forwarded": value}, TRUSTED)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.9", CLIENT),
        ("203.0.113.9:4711", Node("203.0.113.9", 4711)),
        ("2001:DB8:0::1", CLIENT6),
        ("[2001:db8::1]", CLIENT6),
        ("[2001:db8::1]:4711", Node("2001:db8::1", 4711)),
        ("::ffff:203.0.113.9", CLIENT),
        ("6.6.6.6, 203.0.113.9", CLIENT),
        ("6.6.6.6,203.0.113.9,10.0.0.1, 10.9.9.9", CLIENT),
        ("6.6.6.6, 203.0.113.9, 2001:db8:ffff::7", CLIENT),
        ("garbage, 203.0.113.9", CLIENT),
        ("203.0.113.9, unix:", CLIENT),
        (", ,\t203.0.113.9 ,,", CLIENT),
        # All are trusted: the one that is farthest away.
        ("10.0.0.3, 10.0.0.2", Node("10.0.0.3")),
        ("", None),
        (",,,", None),
        ("unknown", None),
        ("_hidden", None),
        ("203.0.113.9, unknown", None),
        ("203.0.113.9, unknown, 10.0.0.2", Node("10.0.0.2")),
    ],
)
def test_x_forwarded_for(value: str, client: Node | None) -> None:
    assert by_for(value) == Forwarding(client)


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        ("for=203.0.113.9", CLIENT, ""),
        ("For=203.0.113.9;PROTO=HTTPS", CLIENT, "https"),
        ("for=203.0.113.9;proto=wss;by=10.0.0.1;host=app.example", CLIENT, "https"),
        ('for="203.0.113.9:4711"; proto=http', Node("203.0.113.9", 4711), "http"),
        ("for=203.0.113.9:4711", Node("203.0.113.9", 4711), ""),
        ('for="[2001:DB8::1]:4711"', Node("2001:db8::1", 4711), ""),
        ('for="[2001:db8::1]"', CLIENT6, ""),
        ('for="203.0.113.9:_hidden"', CLIENT, ""),
        (r'for="203\.0.113.9"', CLIENT, ""),
        ('for=203.0.113.9;host="a,b;c\\"d"', CLIENT, ""),
        ("for=6.6.6.6, for=203.0.113.9;proto=https, for=10.0.0.1;proto=http", CLIENT, "https"),
        ("for=203.0.113.9, for=10.0.0.1;;", CLIENT, ""),
        # The client has left a quotation mark open, or closes one that its proxy opens.
        ('for="6.6.6.6, for=203.0.113.9', CLIENT, ""),
        ('for=6.6.6.6;a=", for="203.0.113.9"', CLIENT, ""),
        ('for=6.6.6.6;a="\\, for="[2001:db8::1]"', CLIENT6, ""),
        ("for=unknown", None, ""),
        ("for=_SEVKISEK", None, ""),
        ('for="_hidden:_port";proto=https', None, "https"),
        ("proto=https", None, "https"),
        ("for=6.6.6.6, for=unknown, for=10.0.0.2;proto=https", Node("10.0.0.2"), ""),
        ("", None, ""),
    ],
)
def test_forwarded(value: str, client: Node | None, scheme: str) -> None:
    assert by_forwarded(value) == Forwarding(client, scheme)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:5:6",
            "a.example",
        ),
        *("2001:db8::1::", "[2001:db8::1", "2001:db8::1]", "[1.2.3.4]", "[::1]:x", "fe80::1%eth0"),
        *('"1.2.3.4"', "1.2.3.4 5.6.7.8", "unix", "-", "٣.2.3.4", ":::::", "[]", "\x85"),
    ],
)
def test_a_malformed_address_is_not_believed_nor_what_is_behind_it(value: str) -> None:
    why = "X-Forwarded-For has a malformed element"
    assert by_for(value) == Forwarding(problem=why)
    assert by_for(f"6.6.6.6, {value}, 10.0.0.2") == Forwarding(Node("10.0.0.2"), problem=why)


@pytest.mark.parametrize(
    "value",
    [
        *("for", "for=", "=1.2.3.4", "for =1.2.3.4", "for= 1.2.3.4", "for=1.2.3.4;for=1.2.3.4"),
        *('for="1.2.3.4', 'for="1.2.3.4"x', "for=1.2.3.4 proto=https", "1.2.3.4", "for=1.2.3"),
        *('for="[1.2.3.4]"', "for=::1", 'for="[::1%eth0]"', "for=unix:", "for=a.example", "\x85"),
        *("for='1.2.3.4'", 'for=""', "for=1.2.3.4:65536", '"', '\\"', 'a="\\"'),
    ],
)
def test_a_malformed_element_of_forwarded(value: str) -> None:
    why = "Forwarded has a malformed element"
    assert by_forwarded(value) == Forwarding(problem=why)
    assert by_forwarded(f"{value}, for=10.0.0.2") == Forwarding(Node("10.0.0.2"), problem=why)


def test_two_headers_that_agree() -> None:
    headers = {"x-forwarded-for": "6.6.6.6, 203.0.113.9", "forwarded": 'for="203.0.113.9:77"'}
    assert client_of(headers, TRUSTED) == Forwarding(Node("203.0.113.9", 77))
    empty = {"x-forwarded-for": "203.0.113.9", "forwarded": ","}
    assert client_of(empty, TRUSTED) == Forwarding(CLIENT)


@pytest.mark.parametrize(
    "other", ["for=6.6.6.6", "for=unknown", "proto=https", "for=10.0.0.1", "x"]
)
def test_neither_of_two_that_disagree_is_believed(other: str) -> None:
    found = client_of({"x-forwarded-for": "203.0.113.9", "forwarded": other}, TRUSTED)
    assert found.client is None
    assert found.disagrees


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        *(("https", "https"), ("HTTP", "http"), ("wss", "https"), ("ws", "http"), ("", "")),
        *(("http, https", "https"), ("https,,", "https"), ("gopher", ""), ("https, x", "")),
    ],
)
def test_x_forwarded_proto(value: str, scheme: str) -> None:
    found = client_of({"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": value}, TRUSTED)
    assert (found.client, found.scheme) == (CLIENT, scheme)
    assert bool(found.problem) == (scheme == "" != value)


def test_two_schemes_are_none() -> None:
    both = {"forwarded": "for=203.0.113.9;proto=http", "x-forwarded-proto": "https"}
    assert client_of(both, TRUSTED) == Forwarding(CLIENT)


def test_a_unix_socket_in_a_list_counts_only_if_such_are_trusted() -> None:
    networks = TrustedProxies.of(["10.0.0.0/8"])
    assert by_for("203.0.113.9, unix:, 10.0.0.2", networks) == Forwarding(Node("10.0.0.2"))
    assert by_for("203.0.113.9, unix:, 10.0.0.2") == Forwarding(CLIENT)


def test_a_list_has_an_end() -> None:
    hops = [f"10.0.0.{number}" for number in range(MOST_HOPS + 10)]
    found = by_for(", ".join(["6.6.6.6", *hops[:MOST_HOPS]]))
    assert found.client == Node("10.0.0.0")
    assert "more than 32" in found.problem
    assert by_for(", ".join(["203.0.113.9", *hops[: MOST_HOPS - 1]])) == Forwarding(CLIENT)
    # Its left end is cut within an address, which must not become another.
    assert by_for("1" + "203.0.113.9".ljust(2048, ",")).client is None
    assert by_for("," + "203.0.113.9".ljust(2047, ",")).client == CLIENT


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-forwarded-proto"])
@pytest.mark.parametrize(
    "text", [",", '"', '\\"', ";", ":", "a", '="', "10.0.0.1,", " ", "a=b;", "_", "[", "for=\t"]
)
def test_the_work_is_bounded(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0
    for each in ("_hop", "_plain_hop"):
        real = getattr(forwarded, each)

        def counted(element: str, real: Any = real) -> object:
            nonlocal longest
            longest = max(longest, len(element))
            return real(element)

        monkeypatch.setattr(forwarded, each, counted)
    client_of({name: text * (16_000 // len(text)) + "\x80"}, TRUSTED)
    assert longest <= 2049


ADDRESSES = st.ip_addresses().map(str)
UNTRUSTED = ADDRESSES.filter(lambda each: not TRUSTED.trusts(each))
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


def _element(address: str) -> str:
    return f'for="[{address}]"' if ":" in address else f"for={address}"


@examples(300)
@given(forged=TEXT, client=UNTRUSTED, proxies=st.lists(st.integers(0, 255), max_size=5))
def test_nothing_that_a_client_sends_changes_what_its_proxy_wrote(
    forged: str, client: str, proxies: list[int]
) -> None:
    host = str(getattr(ipaddress.ip_address(client), "ipv4_mapped", None) or client)
    behind = [f"10.0.0.{each}" for each in proxies]
    plain = ", ".join([forged, client, *behind])
    listed = ", ".join([forged, *map(_element, [client, *behind])])
    assert by_for(plain).client == Node(host)
    assert by_forwarded(listed).client == Node(host)
    both = client_of({"x-forwarded-for": plain, "forwarded": listed}, TRUSTED)
    assert both == Forwarding(Node(host))


@examples(300)
@given(TEXT, TEXT, TEXT)
def test_nothing_is_raised_and_what_is_returned_is_an_address(
    one: str, two: str, four: str
) -> None:
    headers = {"x-forwarded-for": one, "forwarded": two, "x-forwarded-proto": four}
    found = client_of(headers, TRUSTED)
    assert found.scheme in ("", "http", "https")
    assert found.problem.isascii()
    if found.client is not None:
        assert str(ipaddress.ip_address(found.client.host)) == found.client.host
        assert 0 <= found.client.port <= 65535


class TestTrusted:
    @pytest.mark.parametrize(
        ("texts", "inside", "outside"),
        [
            (["10.0.0.0/8"], ["10.255.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "::a00:1"]),
            (["192.0.2.7"], ["192.0.2.7"], ["192.0.2.8"]),
            (["::1"], ["::1", "0:0::1"], ["::2", "127.0.0.1"]),
            (["2001:db8::/32"], ["2001:db8:1::", "2001:db8::1%eth0"], ["2001:db9::", "x", ""]),
            (["::ffff:10.0.0.0/104"], ["10.1.1.1"], ["11.0.0.1"]),
            (["unix"], [], ["127.0.0.1", "unix"]),
            (["0.0.0.0/0"], ["203.0.113.9"], ["::1"]),
            ([], [], ["127.0.0.1"]),
        ],
    )
    def test_addresses(self, texts: list[str], inside: list[str], outside: list[str]) -> None:
        trusted = TrustedProxies.of(texts)
        assert all(map(trusted.trusts, inside))
        assert not any(map(trusted.trusts, outside))
        assert trusted.trusts(None) == ("unix" in texts)
        assert bool(trusted) == bool(texts)

    @pytest.mark.parametrize(
        "text", ["", "10.0.0.1/8", "10.0.0.0/33", "10/8", "a.example", "fe80::1%eth0", "Unix", "*"]
    )
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - `fields` makes the message
            TrustedProxies.of([text])
