from __future__ import annotations

import os
import sys

import pytest

from wsservice.cli.command import parse
from wsservice.cli.faces import face_for, has_person
from wsservice.cli.prompt.prompt import Prompt
from wsservice.cli.script import Script
from wsservice.cli.tutorial import Tutorial

URL = "ws://localhost/"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def terminals(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The descriptors that are terminals."""
    terminals = {0, 1}
    monkeypatch.setattr(os, "isatty", terminals.__contains__)
    monkeypatch.setenv("TERM", "xterm")
    return terminals


def test_a_person_at_a_terminal_has_a_prompt() -> None:
    command = parse([URL])
    assert has_person(command)
    seen, face = face_for(command, True)
    assert isinstance(face, Prompt)
    assert seen == command
    assert seen.config.trace == face.traced


@pytest.mark.parametrize("pipe", [0, 1])
def test_a_pipe_on_either_side_is_a_script(pipe: int, terminals: set[int]) -> None:
    terminals.remove(pipe)
    command = parse([URL])
    assert not has_person(command)
    assert isinstance(face_for(command, False)[1], Script)


def test_without_a_url_it_is_the_tutorial() -> None:
    command = parse([])
    assert not has_person(command)
    assert isinstance(face_for(command, False)[1], Tutorial)


@pytest.mark.parametrize("term", ["dumb", "", None])
def test_a_terminal_that_can_do_nothing_has_no_prompt(
    term: str | None, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    assert not has_person(parse([URL]))
    assert capsys.readouterr().err == ""


def test_without_the_library_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, terminals: set[int]
) -> None:
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    assert not has_person(parse([URL]))
    assert capsys.readouterr().err == (
        "wsservice.client: there is no prompt without prompt_toolkit:"
        " pip install 'wsservice[cli]'\n"
    )
    terminals.clear()
    assert not has_person(parse([URL]))
    assert capsys.readouterr().err == ""
