from __future__ import annotations

from wsservice.auth.cache import GoodCredentials


def test_a_value_is_there_until_its_time_ends() -> None:
    cache: GoodCredentials[str] = GoodCredentials()
    key = cache.key_of(b"token")
    cache.put(key, "tom", 3, 10.0)
    assert cache.get(key, 9.9) == "tom"
    assert cache.get(cache.key_of(b"other"), 0) is None
    assert cache.get(key, 10.0) is None
    assert len(cache) == 0


def test_keys_tell_nothing_and_differ_in_each_cache() -> None:
    one: GoodCredentials[str] = GoodCredentials()
    other: GoodCredentials[str] = GoodCredentials()
    assert one.key_of(b"token") == one.key_of(b"token") != other.key_of(b"token")
    assert b"token" not in one.key_of(b"token")


def test_parts_do_not_run_into_each_other() -> None:
    cache: GoodCredentials[str] = GoodCredentials()
    keys = {
        cache.key_of(*each) for each in [(b"ab", b"c"), (b"a", b"bc"), (b"", b"abc"), (b"abc",)]
    }
    assert len(keys) == 4


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    cache: GoodCredentials[int] = GoodCredentials(most=3)
    for number in range(3):
        cache.put(b"%d" % number, number, 0, 99)
    cache.get(b"0", 0)
    cache.put(b"3", 3, 0, 99)
    assert [cache.get(b"%d" % number, 0) for number in range(4)] == [0, None, 2, 3]


def test_octets_are_bounded_too_however_often_one_is_put() -> None:
    cache: GoodCredentials[int] = GoodCredentials(most_octets=1000)
    for _ in range(5):
        cache.put(b"same", 1, 100, 99)
    cache.put(b"other", 2, 100, 99)
    assert len(cache) == 2
    cache.put(b"large", 3, 700, 99)
    assert (len(cache), cache.get(b"large", 0)) == (1, 3)
    cache.put(b"too large", 4, 1000, 99)
    assert (len(cache), cache.get(b"large", 0)) == (1, 3)
    cache.clear()
    cache.put(b"large", 3, 700, 99)
    assert len(cache) == 1
