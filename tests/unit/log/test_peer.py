from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wsservice.log.peer import PeerLogger, Seldom, discreet

from ...support import Logged

HOSTILE = "a\r\nb\x1b[2J\u2028\u202e\ud800\\"
ESCAPED = r"a\r\nb\x1b[2J\u2028\u202e\ud800\\"


class Source:
    log = PeerLogger(namespace="test")


def caught(error: Exception) -> Failure:
    try:
        raise error
    except Exception:
        return Failure()


def test_text_given_as_a_field_is_escaped_before_any_observer_sees_it(logged: Logged) -> None:
    Source().log.info("it said {what}", what=HOSTILE)
    assert logged.text.endswith(f"it said {ESCAPED}")
    assert logged.events[0]["what"] == ESCAPED


def test_an_exception_given_as_a_field_is_escaped(logged: Logged) -> None:
    Source().log.error("it failed: {error}", error=ValueError(HOSTILE))
    assert logged.events[0]["error"] == ESCAPED


def test_what_is_neither_stays_as_it_is(logged: Logged) -> None:
    Source().log.info("{count}", count=3)
    assert logged.events[0]["count"] == 3


def test_the_text_of_a_failure_is_one_line_of_its_traceback(logged: Logged) -> None:
    Source().log.failure("a callback failed", caught(ValueError(HOSTILE)))
    first, *_, last = logged.failures[0].rstrip("\n").split("\n")
    assert first.endswith("a callback failed")
    assert last == f"builtins.ValueError: {ESCAPED}"
    assert all(line.isprintable() for line in logged.failures[0].split("\n"))


def test_a_traceback_still_names_file_and_line(logged: Logged) -> None:
    Source().log.failure("oh", caught(KeyError("x")))
    assert "Traceback (most recent call last)" in logged.failures[0]
    assert __file__ in logged.failures[0]


@pytest.mark.parametrize("error", [ValueError(), ValueError("e"), ValueError("\n")])
def test_a_failure_with_little_to_say_is_printed_whole(error: Exception, logged: Logged) -> None:
    Source().log.failure("oh", caught(error))
    text = str(error).replace("\n", r"\n")
    assert logged.failures[0].rstrip("\n").endswith(f"\nbuiltins.ValueError: {text}")


def test_the_failure_of_the_moment_is_taken_where_none_is_given(logged: Logged) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        Source().log.failure("oh")
    assert ESCAPED in logged.failures[0]


def test_a_line_that_a_peer_can_cause_is_due_every_10_seconds() -> None:
    clock = Clock()
    seldom = Seldom(clock.seconds)
    assert [seldom.due(), seldom.due()] == [True, False]
    clock.advance(9.9)
    assert not seldom.due()
    clock.advance(0.2)
    assert [seldom.due(), seldom.due()] == [True, False]


def test_debug_events_are_dropped(logged: Logged) -> None:
    Source().log.debug("{never}", never="formatted")
    assert logged.events == []


def test_every_access_gives_the_one_logger() -> None:
    assert Source().log is Source.log


def test_secrets_are_masked_in_the_text_of_a_failure_and_nowhere_else(logged: Logged) -> None:
    failure = discreet(caught(ValueError(f"the token is hunter2{HOSTILE}")), ["hunter2", "caught"])
    Source().log.failure("oh", failure)
    assert logged.failures[0].rstrip("\n").endswith(f"ValueError: the token is ********{ESCAPED}")
    assert "in caught" in logged.failures[0]


def test_a_detail_is_logged_as_debugging_and_escaped(logged: Logged) -> None:
    Source().log.detail("{what}", what=HOSTILE)
    assert logged.text == f"[test#debug] {ESCAPED}"
