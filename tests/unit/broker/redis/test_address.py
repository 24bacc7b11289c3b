from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.broker.redis.address import PORT, SENTINEL_PORT, Address, ServerPlace, place_of
from wsservice.errors import ConfigError

SECRET = "hunter2"


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_server_by_tcp(scheme: str) -> None:
    place = place_of(f"{scheme}://Redis.example")
    assert place == ServerPlace(f"{scheme}://redis.example:6379", (Address("redis.example", PORT),))
    assert place_of(f"{scheme}://h:7000/15").addresses == (Address("h", 7000),)
    assert place_of(f"{scheme}://h:7000/15").database == 15
    assert place_of(f"{scheme}://h/").database == 0


@pytest.mark.parametrize("host", ["my_redis", "r3---sn.cdn.example", "redis.example."])
def test_every_name_that_dns_may_have(host: str) -> None:
    assert place_of(f"rediss://{host}:1").addresses == (Address(host, 1),)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_server_by_tls(scheme: str) -> None:
    place = place_of(f"{scheme}://h")
    assert (place.tls, place.ca) == (True, "")
    assert place_of(f"{scheme}://h?ca=/etc/a%20ca.pem").ca == "/etc/a ca.pem"


def test_a_server_at_a_unix_socket() -> None:
    place = place_of("redis+unix:///run/redis%20a.sock?db=3")
    assert place.addresses == (Address("", path="/run/redis a.sock"),)
    assert (place.database, place.tls) == (3, False)
    assert str(place) == "redis+unix:///run/redis a.sock?db=3"
    assert str(place_of("valkey+unix:///s")) == "valkey+unix:///s"


def test_sentinels() -> None:
    place = place_of("redis+sentinel://:p@a:1,b,[::1]:3/mymaster/2")
    assert place.addresses == (Address("a", 1), Address("b", SENTINEL_PORT), Address("::1", 3))
    assert (place.master, place.database, place.password) == ("mymaster", 2, "p")
    assert str(place) == "redis+sentinel://a:1,b:26379,[::1]:3/mymaster/2"
    assert place_of("rediss+sentinel://a/m").tls
    assert not place_of("valkey+sentinel://a/m").tls


def test_who_logs_in() -> None:
    place = place_of("redis://an%20app:p%40ss%3a%2F@h")
    assert (place.user, place.password) == ("an app", "p@ss:/")
    assert place_of("redis://:p@h").user == ""
    alone = place_of("redis://an%20app@h")
    assert (alone.user, alone.password) == ("an app", "")
    assert place_of("redis+unix://u:p@/run/s").user == "u"


def test_who_logs_in_is_not_shown() -> None:
    place = place_of(f"redis://someone:{SECRET}@h/1")
    assert str(place) == "redis://h:6379/1"
    assert SECRET not in repr(place)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "redis:h",
        "redis:/h",
        "http://h",
        "redis+http://h",
        "rediss+unix:///run/s",
        "+unix:///run/s",
        "redis://",
        "redis://h:0",
        "redis://h:65536",
        "redis://a..b",
        "redis://h h",
        "redis://h\n",
        "redis://h\u00e4",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/65536",
        "redis://h/1/2",
        "redis://h?db=1",
        "redis://h?ca=/x",
        "redis://h#x",
        "redis://h,i",
        "redis://[::1",
        "redis://:@h",
        "redis://u:@h",
        "redis://u:a@b@h",
        "redis://:%zz@h",
        "redis://:%ff@h",
        "redis://:%00@h",
        "rediss://h?ca=",
        "rediss://h?ca=%ff",
        "rediss://h?ca=/x&ca=/y",
        "rediss://h?insecure=1",
        "redis+unix://run/s",
        "redis+unix:///",
        "redis+unix:///%00",
        "redis+unix:///run/s?db=x",
        "redis+unix:///" + "s" * 107,
        "redis+sentinel://a,b",
        "redis+sentinel://a,b/",
        "redis+sentinel://a,/m",
        "redis+sentinel://a/m/x",
        "redis+sentinel://a/m%20n",
    ],
)
def test_what_is_no_such_url(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--broker: .*; give redis://"):
        place_of(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://h:{SECRET}",
        f"redis://:{SECRET}#@h",
        f"redis://h/{SECRET}",
        f"redis://:{SECRET}@x@h",
        f"redis://h?password={SECRET}",
        f"{SECRET}://h",
        f"redis://:{SECRET}@h h",
        f"redis://[{SECRET}]@h",
    ],
)
def test_an_error_has_nothing_of_the_url(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        place_of(url)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_password_can_be_given(password: str) -> None:
    place = place_of(f"redis://:{quote(password, safe='')}@h")
    assert place.password == password
    assert place.addresses == (Address("h", PORT),)


@given(st.text())
def test_whatever_is_given_is_a_place_or_an_error(text: str) -> None:
    for url in (text, f"redis://{text}", f"redis+sentinel://a/{text}", f"redis+unix:///{text}"):
        try:
            said = str(place_of(url))
        except ConfigError as error:
            said = str(error)
        assert said.isprintable()
