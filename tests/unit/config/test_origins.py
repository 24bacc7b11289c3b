"""origins.py: which origins may connect."""

from __future__ import annotations

import pytest

from wsservice.config.config import Config
from wsservice.config.origins import AllowedOrigins, Origin, check_origin, parse_origin
from wsservice.errors import ConfigError
from wsservice.http.request import Request, RequestReader
from wsservice.http.target import Host, parse_host

from ...support import opening_request


def allows(origin: str | None, host: str, *patterns: str) -> bool:
    return AllowedOrigins.of(patterns).allows(origin, parse_host(host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "example.com"),
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("HTTPS://EXAMPLE.com", "example.COM"),
        ("http://example.com:80", "example.com"),
        ("https://example.com:443", "example.com"),
        ("http://example.com", "example.com:80"),
        ("https://example.com", "example.com:443"),
        ("http://localhost:8080", "localhost:8080"),
        ("https://localhost:8080", "localhost:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[0:0::1]:8080"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_the_same_host_is_allowed(origin: str | None, host: str) -> None:
    assert allows(origin, host)


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "allowed"),
    [
        ("https://app.example", "app.example", "https", True),
        ("https://app.example", "app.example:443", "https", True),
        ("https://app.example:8443", "app.example:8443", "https", True),
        ("http://app.example", "app.example", "http", True),
        # A page that came in plain text may be of somebody on its way.
        ("http://app.example", "app.example", "https", False),
        ("http://app.example:443", "app.example", "https", False),
        ("https://app.example", "app.example:80", "https", False),
        ("https://app.example", "app.example", "http", False),
        ("https://app.example", "app.example:8443", "https", False),
        ("http://app.example", "app.example", "", True),
    ],
)
def test_with_a_known_scheme_it_is_the_same_origin(
    origin: str, host: str, scheme: str, allowed: bool
) -> None:
    assert AllowedOrigins().allows(origin, parse_host(host), scheme) is allowed
    assert AllowedOrigins.of([origin]).allows(origin, parse_host(host), scheme)


REFUSED = [
    "",
    "null",
    "NULL",
    "file://",
    "file:///etc",
    "http://",
    "//app.example",
    "app.example",
    "http:app.example",
    "http:///app.example",
    "https://app.example.evil.com",
    "https://evilapp.example",
    "https://app.example.",
    "https://app.example@evil.com",
    "https://user@app.example",
    "https://user:app.example@evil.com",
    "https://app.example:8080",
    "https://app.example:",
    "https://app.example:x",
    "https://app.example:99999",
    "https://app.example/",
    "https://app.example/path",
    "https://app.example?q",
    "https://app.example#f",
    "https://app.example https://evil.com",
    "https://app.example, https://evil.com",
    "https://app.example\\.evil.com",
    "https://\u0430pp.example",
    "https://app\u3002example",
    "https://app.exampl\xe9",
    " https://app.example",
    "https://app.example ",
    "https://*",
    "*",
    "chrome-extension://app.example",
    "ws://app.example",
]


@pytest.mark.parametrize("origin", REFUSED)
def test_look_alikes(origin: str) -> None:
    assert not allows(origin, "app.example")
    assert not allows(origin, "localhost:8080", "https://app.example")


@pytest.mark.parametrize("pattern", ["https://app.example", "HTTPS://App.Example:443"])
def test_an_exact_origin(pattern: str) -> None:
    assert allows("https://app.example", "localhost", pattern)
    assert allows("https://APP.example:443", "localhost", pattern)
    assert allows("http://localhost", "localhost", pattern)
    assert not allows("http://app.example", "localhost", pattern)
    assert not allows("https://app.example:8443", "localhost", pattern)


def test_several() -> None:
    patterns = ["https://a.example", "http://b.example:3000", "app://shell"]
    for each in patterns:
        assert allows(each, "localhost", *patterns)
    assert not allows("http://b.example", "localhost", *patterns)


@pytest.mark.parametrize("origin", [None, "null", "file://", "https://x.example", "app://shell"])
def test_any(origin: str | None) -> None:
    assert allows(origin, "localhost", "*")


@pytest.mark.parametrize("origin", REFUSED)
def test_any_takes_what_is_no_origin_too(origin: str) -> None:
    assert allows(origin, "localhost", "*")
    assert allows(origin, "localhost", "https://a.example", "*")


def test_the_default_port_is_dropped() -> None:
    assert parse_origin("https://a:443") == Origin("https", Host("a"))
    assert parse_origin("https://a:80") == Origin("https", Host("a", 80))
    assert parse_origin("app://a:80") == Origin("app", Host("a", 80))


# The option


def test_the_option_takes_one_or_several() -> None:
    assert Config().allow_origin == ()
    assert Config(allow_origin="*").allow_origin == ("*",)  # type: ignore[arg-type]
    given = ("https://app.example", "http://localhost:3000")
    assert Config(allow_origin=list(given)).allow_origin == given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    ["", "null", "app.example", "https://app.example/", "https://*.app.example", "https://a:x"],
)
def test_a_wrong_option(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(allow_origin=("https://app.example", value))
    assert str(caught.value) == (
        f"--allow-origin: {value!r} is not allowed;"
        " give * or an origin, such as https://app.example or http://localhost:3000"
    )


@pytest.mark.parametrize("value", [5, (5,), None])
def test_an_option_of_a_wrong_type(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^--allow-origin: .* is not allowed; give"):
        Config(allow_origin=value)  # type: ignore[arg-type]


def test_of_an_origin_that_is_none_only_what_is_no_secret_is_told() -> None:
    for origin, told in (
        ("https://a.example/?token=s3cr3t", "https://a.example/..."),
        ("https://me:s3cr3t@a.example", "..."),
    ):
        request = RequestReader().feed(opening_request("/", f"Origin: {origin}"))
        assert isinstance(request, Request)
        refusal = check_origin(request, AllowedOrigins())
        assert refusal is not None
        assert refusal.shown == f'"{told}" at "localhost:8080"'
        assert "s3cr3t" not in refusal.reason
        assert b"s3cr3t" not in refusal.body
