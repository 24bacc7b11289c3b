from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from wsservice.cli.prompt.completer import TypedCompleter


def completed(typed: str) -> list[str]:
    """Return the line with each of the completions."""
    completions = TypedCompleter().get_completions(Document(typed), CompleteEvent())
    return [typed[: len(typed) + each.start_position] + each.text for each in completions]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("/p", ["/ping"]),
        ("/re", ["/reconnect"]),
        ("/h", ["/headers", "/help"]),
        ("/x", []),
        ("/json o", ["/json on", "/json off"]),
        ("/json of", ["/json off"]),
        ("/ping a", []),
        ("", []),
        ("p", []),
        (" /p", []),
        ("/p\n/p", []),
        ("/binary f", []),
    ],
)
def test_commands_are_completed(typed: str, lines: list[str]) -> None:
    assert completed(typed) == lines


@pytest.mark.parametrize("command", ["/file ", "/binary @"])
def test_names_of_files_are_completed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert completed(f"{command}{tmp_path}/a") == [f"{command}{tmp_path}/a file"]
    assert completed(f"{command}{tmp_path}/f") == [f"{command}{tmp_path}/folder/"]
    assert completed(f"{command}~/a f") == [f"{command}~/a file"]
    assert completed(f"{command}{tmp_path}/x") == []
