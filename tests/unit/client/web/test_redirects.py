from __future__ import annotations

from http.cookiejar import CookieJar

import pytest

from wsservice.client.options import ClientConfig
from wsservice.client.web.redirects import follow
from wsservice.errors import ConfigError

JAR = CookieJar()
CONFIG = ClientConfig(
    url="wss://u:p@a.example/",
    origin="https://o.example",
    subprotocols=["wsservice.v1", "s3cret"],
    headers={"X-Api-Key": "k"},
    cookies="a=b",
    cookie_jar=JAR,
    cert="cert.pem",
    key="key.pem",
    key_password="phrase",
    ca="ca.pem",
    insecure=True,
    proxy="http://x:y@proxy",
    resolve=["b.example:443:127.0.0.1"],
    connect_timeout=3,
)


def test_to_the_same_origin_all_goes_along() -> None:
    there = follow(CONFIG, "/there?q")
    assert there.url == "wss://a.example/there?q"
    assert there.auth == ("u", "p")
    assert (there.headers, there.cookies) == (CONFIG.headers, CONFIG.cookies)
    assert (there.cert, there.key, there.key_password) == ("cert.pem", "key.pem", "phrase")
    assert (there.origin, there.subprotocols) == (CONFIG.origin, CONFIG.subprotocols)


@pytest.mark.parametrize("where", ["https://b.example/", "wss://a.example:444/", "//b.a.example/"])
def test_to_another_goes_nothing_that_says_who_we_are(where: str) -> None:
    there = follow(CONFIG, where)
    assert there.headers == ()
    assert (there.auth, there.bearer, there.cookies) == (None, None, "")
    assert (there.cert, there.key, there.key_password) == (None, None, None)
    assert there.cookie_jar is JAR
    assert (there.ca, there.insecure, there.proxy) == ("ca.pem", True, CONFIG.proxy)
    assert (there.resolve, there.connect_timeout) == (CONFIG.resolve, 3)
    assert (there.origin, there.subprotocols) == (None, ("wsservice.v1",))


def test_a_token_stays_too() -> None:
    config = ClientConfig(url="ws://a/", bearer="t")
    assert follow(config, "/b").bearer == "t"
    assert follow(config, "wss://a/").bearer is None


def test_never_from_tls_to_without() -> None:
    with pytest.raises(ConfigError, match="unprotected"):
        follow(CONFIG, "ws://a.example/")
