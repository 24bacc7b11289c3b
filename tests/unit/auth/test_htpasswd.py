from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsservice.auth import htpasswd
from wsservice.auth.contract import Credential, Form, User
from wsservice.auth.htpasswd import (
    MOST_PENDING,
    REMEMBERED_SECONDS,
    PasswordFile,
    is_right,
    open_htpasswd,
    read_hashes,
)
from wsservice.auth.kinds import open_authenticator
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.http.refusal import Refusal

pytestmark = [pytest.mark.needs("bcrypt"), pytest.mark.needs("argon2")]

# Of "hunter2", by htpasswd -nbB -C 4, and by argon2-cffi with little memory.
BCRYPT = "$2y$04$6UflzLC.oh5mHoiUIB7G6O8OV4JsfPzDUyPhOcBUZcnDrR3oJNQm2"
REQUEST: Any = None


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    import argon2
    import bcrypt

    argon = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    made = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()
    return {"tom": made, "eve": argon.hash("hunter2"), "ann": "$2y" + made[3:]}


class Threads:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Deferred[bool], Callable[..., bool], Any]] = []

    def __call__(self, call: Callable[..., bool], *given: Any) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        self.calls.append((done, call, given))
        return done

    def work(self) -> None:
        calls, self.calls = self.calls, []
        for done, call, given in calls:
            done.callback(call(*given))


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def file(tmp_path: Path, hashes: dict[str, str]) -> Path:
    path = tmp_path / "users"
    path.write_text(
        "# the users\n\n" + "".join(f"{name}:{each}\r\n" for name, each in hashes.items())
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def found(file: Path, clock: Clock, threads: Threads) -> PasswordFile:
    return PasswordFile(str(file), read_hashes(str(file)), clock, threads)


def asked(found: PasswordFile, name: str, password: str = "hunter2") -> list[Any]:
    verdict = found.check(Credential(Form.PASSWORD, password, "Authorization", name), REQUEST)
    told: list[Any] = []
    if isinstance(verdict, Deferred):
        verdict.addCallback(told.append)
    else:
        told.append(verdict)
    return told


@pytest.mark.parametrize("name", ["tom", "eve", "ann"])
def test_the_password_of_a_user(found: PasswordFile, threads: Threads, name: str) -> None:
    good, bad = asked(found, name), asked(found, name, "hunter3")
    assert (good, bad) == ([], [])
    threads.work()
    assert good == [User(name)]
    assert (bad[0].status, bad[0].problem) == (401, "the name or the password is wrong")
    assert found.pending == 0


def test_an_unknown_name_costs_the_same_and_is_told_the_same(
    found: PasswordFile, threads: Threads, hashes: dict[str, str]
) -> None:
    bad = asked(found, "tom", "no")
    unknown = [asked(found, f"nobody{number}") for number in range(40)]
    calls = [given for _, _, given in threads.calls]
    assert {hashed for hashed, _ in calls} == set(hashes.values())
    again = asked(found, "nobody7")
    assert threads.calls[-1][2] == calls[8]  # of one name the time is always the same
    threads.work()
    assert all(each == bad for each in (*unknown, again))


def test_a_password_that_was_right_is_not_hashed_again_for_a_while(
    found: PasswordFile, threads: Threads, clock: Clock
) -> None:
    asked(found, "tom")
    threads.work()
    assert asked(found, "tom") == [User("tom")]
    for name, password in (("tom", "hunter3"), ("eve", "hunter2"), ("tomhunter2", "")):
        assert asked(found, name, password) == []
    threads.work()
    clock.advance(REMEMBERED_SECONDS)
    assert asked(found, "tom") == []


def test_only_so_many_wait(found: PasswordFile, threads: Threads) -> None:
    waiting = [asked(found, "tom", f"guess {number}") for number in range(MOST_PENDING)]
    (refusal,) = asked(found, "tom")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 503
    threads.work()
    assert all(len(each) == 1 for each in waiting)
    assert asked(found, "tom") == []


def test_one_that_gave_up_still_counts_until_its_thread_is_done(
    found: PasswordFile, threads: Threads
) -> None:
    verdict = found.check(Credential(Form.PASSWORD, "hunter2", "here", "tom"), REQUEST)
    assert isinstance(verdict, Deferred)
    verdict.addErrback(lambda _: None).cancel()
    assert found.pending == 1
    threads.work()
    assert found.pending == 0


def test_what_a_thread_raises_is_a_fault(found: PasswordFile, threads: Threads) -> None:
    verdict = found.check(Credential(Form.PASSWORD, "hunter2", "here", "tom"), REQUEST)
    assert isinstance(verdict, Deferred)
    failed: list[Any] = []
    verdict.addErrback(failed.append)
    threads.calls.pop()[0].errback(MemoryError())
    assert len(failed) == 1
    assert found.pending == 0


def test_a_reload(
    found: PasswordFile, threads: Threads, file: Path, hashes: dict[str, str]
) -> None:
    asked(found, "tom")
    threads.work()
    config = Config()
    assert found.prepare(config)() == []
    assert asked(found, "tom") == [User("tom")]
    file.write_text(f"eve:{hashes['eve']}")
    commit = found.prepare(config)
    assert asked(found, "tom") == [User("tom")]
    assert commit() == ["the users of --auth htpasswd"]
    gone = asked(found, "tom")
    threads.work()
    assert gone[0].status == 401
    file.write_text("eve")
    with pytest.raises(ConfigError):
        found.prepare(config)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("tom", "it has no colon"),
        (":" + BCRYPT, "the user's id is empty"),
        ("a\x00b:" + BCRYPT, "a control character"),
        ("tom:$apr1$mEnTXsDk$0C1Fkjm0Q5fYx1LhCbGs81", "apr1 is too weak"),
        ("tom:{SHA}8843d7f92416211de9ebb963ff4ce28125932878=", "SHA-1 is too weak"),
        ("tom:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", "MD5 is too weak"),
        ("tom:$6$salt$hash", "crypt is too weak"),
        ("tom:rqXexS6ZhobKA", "neither bcrypt nor argon2"),
        ("tom:hunter2", "neither bcrypt nor argon2"),
        ("tom:", "neither bcrypt nor argon2"),
        ("tom:" + BCRYPT[:-1], "neither bcrypt nor argon2"),
        ("tom:" + BCRYPT.replace("$04$", "$31$"), "a cost of less than 4 or more than 15"),
        (
            "tom:$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQxMjM$AAAAAAAAAAAAAAAAAAAAAA",
            "at most m=",
        ),
        ("tom:$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQxMjM$AAAAAAAAAAAAAAAAAAAAAA", "at most m="),
    ],
)
def test_a_line_that_is_refused_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{BCRYPT}\n# more\n{line}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as raised:
        read_hashes(str(path))
    text = str(raised.value)
    assert f"{path}, line 3: " in text
    assert why in text
    assert text.isprintable()
    assert "hunter2" not in text


def test_a_file_that_cannot_be_used(file: Path) -> None:
    file.write_text(f"tom:{BCRYPT}\ntom:{BCRYPT}\n")
    for octets, mode, why in (
        (file.read_bytes(), 0o600, "line 2: its user is in a line before"),
        (b"# nobody\n", 0o600, "has no user"),
        (b"\xff:", 0o600, "is not UTF-8"),
        (b"tom:x", 0o644, "may be read by every user"),
    ):
        file.write_bytes(octets)
        file.chmod(mode)
        with pytest.raises(ConfigError, match=why):
            open_htpasswd(str(file), Config(), Clock())
    with pytest.raises(ConfigError, match="without a file"):
        open_htpasswd("", Config(), Clock())


def test_passwords_of_any_kind(hashes: dict[str, str]) -> None:
    import bcrypt

    long = b"x" * 100
    of_long = bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode()
    assert is_right(of_long, long)
    for password in (b"", b"\x00", b"hunter2\x00", b"\xff", long, b"x" * 8192):
        for hashed in hashes.values():
            assert is_right(hashed, password) is False
    assert is_right("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQxMjM$A", b"hunter2") is False


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs the package bcrypt; pip install"):
        open_authenticator("htpasswd:file", Config(), Clock())


class Reactor(Clock):
    """A reactor whose threads hand over their results."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()
        self.results: list[Any] = []

    def callFromThread(self, call: Any, *given: Any) -> None:
        self.results.append((call, given))
        self.done.set()


def test_it_is_hashed_in_a_thread_of_its_own(file: Path) -> None:
    reactor = Reactor()
    found = open_htpasswd(str(file), Config(), reactor)
    told = asked(found, "tom")
    assert reactor.done.wait(30)
    call, given = reactor.results.pop()
    call(*given)
    assert told == [User("tom")]
    found.stop()
    found.stop()
