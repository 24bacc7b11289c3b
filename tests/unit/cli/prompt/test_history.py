from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wsservice.cli.prompt.history import HistoryFile, history_path, is_kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "wsservice" / "history"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/a"}, "/state/wsservice/history"),
        ({"XDG_STATE_HOME": "state", "HOME": "/home/a"}, "/home/a/.local/state/wsservice/history"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/wsservice/history"),
        ({"HOME": "/home/a"}, "/home/a/.local/state/wsservice/history"),
        ({"HOME": "home"}, None),
        ({}, None),
    ],
)
def test_it_is_where_state_is_kept(environment: dict[str, str], path: str | None) -> None:
    assert history_path(environment) == (None if path is None else Path(path))


def test_what_was_typed_is_there_the_next_time(path: Path) -> None:
    lines = ["one", "two\nlines", "back\\slash", "\\n", "\\\n\\\\", "ä😀", "\r"]
    for line in lines:
        HistoryFile(path).append(line)
    assert HistoryFile(path).load() == lines


def test_nothing_was_typed_yet(path: Path) -> None:
    assert HistoryFile(path).load() == []
    assert not path.parent.exists()


def test_only_its_owner_reads_it(path: Path) -> None:
    HistoryFile(path).append("one")
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    path.chmod(0o644)
    HistoryFile(path).append("two")
    assert mode(path) == 0o600


def test_what_begins_with_a_space_is_not_kept(path: Path) -> None:
    history = HistoryFile(path)
    history.append(" secret")
    history.append("")
    history.append("x" * 20_000)
    assert history.load() == []
    assert not is_kept(" secret")
    assert is_kept("open")


def test_it_does_not_grow_for_ever(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    lines = HistoryFile(path).load()
    assert lines[-1] == "line 99999"
    assert 10_000 < len(lines) < 30_000
    assert lines[0] == f"line {100_000 - len(lines)}"
    assert path.stat().st_size <= 256 * 1024
    assert mode(path) == 0o600
    assert HistoryFile(path).load() == lines
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_text_does_no_harm(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\n\nok\n")
    assert HistoryFile(path).load() == ["��", "ok"]
    HistoryFile(path).append("\udcff")
    assert HistoryFile(path).load()[-1] == "?"


def test_a_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        HistoryFile(tmp_path / "file" / "history").append("one")
