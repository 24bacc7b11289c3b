"""may.py: the answer to `--may USER CHANNEL`, by the options of twistd."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsservice.run.tap import Options

RULES = """
auth = ["tokens:nowhere"]
history = "5,0"

[[channels]]
match = "room.*"
subscribe = "users"
publish = "subscribers"
keep = 100

[[channels]]
match = "user.{user}"
subscribe = "users"
keep = 0
"""

CAPS = '{"caps": [{"channels": ["x*"], "match": "wildcard", "allow": ["sub", "prs"]}]}'


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asking:
    file = tmp_path / "ws.toml"
    file.write_text(RULES)
    return Asking(str(file), capsys)


class Asking:
    def __init__(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = file
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, list[str]]:
        """Return the exit status and the lines of the answer."""
        with pytest.raises(SystemExit) as caught:
            Options().parseOptions(["--config", self.file, *arguments])
        out, err = self._capsys.readouterr()
        assert not (out and err)
        return int(str(caught.value.code)), (out or err).splitlines()


def test_it_says_what_is_allowed_and_by_which_rule(asked: Asking) -> None:
    assert asked("--may", "tom", "room.1") == (
        0,
        [
            'user "tom", channel "room.1"',
            'rule 1: match = "room.*"',
            "subscribe  yes  rule 1, subscribe = users",
            "publish    yes  rule 1, publish = subscribers",
            "history    no   rule 1, history = nobody",
            "presence   no   rule 1, presence = nobody",
            "kept       100 messages for 300 s",
        ],
    )


def test_a_user_who_may_not_subscribe_is_status_1(asked: Asking) -> None:
    status, lines = asked("--may", "", "room.1")
    assert (status, lines[0]) == (1, 'the anonymous, channel "room.1"')
    assert [each.split()[1] for each in lines[2:6]] == ["no"] * 4
    status, lines = asked("--may", "tom", "user.ann")
    assert (status, lines[1:]) == (
        1,
        [
            "subscribe  no   no rule matches",
            "publish    no   no rule matches",
            "history    no   no rule matches",
            "presence   no   no rule matches",
            "kept       nothing",
        ],
    )


def test_slashes_at_the_ends_do_not_count(asked: Asking) -> None:
    assert asked("--may", "tom", "//room.1/") == asked("--may", "tom", "room.1")


@pytest.mark.parametrize("before", [True, False])
def test_claims_may_be_given_before_and_after(asked: Asking, before: bool) -> None:
    may, claims = ["--may", "tom", "xyz"], ["--may-claims", CAPS]
    status, lines = asked(*(claims + may if before else may + claims))
    assert status == 0
    assert lines[1:] == [
        "subscribe  yes  entry 1 of the claim caps",
        "publish    no   no rule matches",
        "history    no   no rule matches",
        "presence   yes  entry 1 of the claim caps",
        "kept       5 messages of any age",
    ]


def test_other_options_may_stand_behind(asked: Asking) -> None:
    status, lines = asked("--may", "tom", "other", "--history", "7")
    assert (status, lines[-1]) == (1, "kept       7 messages for 300 s")


def test_without_auth_it_says_that_nobody_is_judged(asked: Asking) -> None:
    text = Path(asked.file).read_text()
    Path(asked.file).write_text(text.partition("\n\n")[2].replace('auth = ["tokens:nowhere"]', ""))
    status, lines = asked("--may", "tom", "room.1")
    assert status == 0
    assert lines[-1].startswith("without --auth the service judges nobody: ")


def test_names_are_escaped(asked: Asking) -> None:
    _, lines = asked("--may", 'to"m\u202e', "room.\u202e")
    assert lines[0] == r'user "to\"m\u202e", channel "room.\u202e"'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--may", "tom"], "--may: a channel is missing; give --may USER CHANNEL"),
        (["--may", "tom", "a", "b"], "'b' is not allowed; give options only, see --help"),
        (["--may", "tom", "a\n"], "--may: the channel is not allowed; give at most 255 octets"),
        (["--may", "tom", "a" * 256], "--may: the channel is not allowed; give at most 255 octets"),
        (["--may", "to\x1bm", "a"], "--may: the user's id has a control character"),
        (["--may", "t" * 256, "a"], "--may: the user's id has more than 255 octets"),
        (["--may-claims", "{}"], "--may-claims: is not allowed without --may USER CHANNEL"),
        (["--may", "tom", "a", "--may-claims", "x"], "--may-claims: is no object in JSON; give"),
        (["--may", "tom", "a", "--may-claims", "[" * 9999], "--may-claims: is no object in JSON"),
        (["--may", "tom", "a", "--may-claims", '{"caps": 1}'], "--may-claims: the claim caps is"),
        (["--may", "", "a", "--may-claims", '{"a": 1}'], "--may-claims: is not allowed for the"),
        (["--may", "tom", "a", "--mya"], "--mya: unknown option; did you mean --may?"),
    ],
)
def test_a_mistake_is_one_line(asked: Asking, arguments: list[str], said: str) -> None:
    status, (line,) = asked(*arguments)
    assert status == 1
    assert line.removeprefix("wsdemo: ").startswith(said)
