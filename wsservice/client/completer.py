"""What Tab makes of what is typed at the prompt."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from .typed import COMMANDS

_CHOICES = {"/json": ("on", "off")}


class TypedCompleter(Completer):
    """Completes commands, and what some of them take."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return ()
        if not space:
            return _matching(COMMANDS, name)
        if name in _CHOICES:
            return _matching(_CHOICES[name], rest)
        path = _path(name, rest)
        if path is None:
            return ()
        found = self._paths.get_completions(Document(path), complete_event)
        return (_with_slash(each) for each in found)


def _matching(names: Iterable[str], typed: str) -> Iterable[Completion]:
    return (Completion(name, -len(typed)) for name in names if name.startswith(typed))


def _with_slash(found: Completion) -> Completion:
    """The same; of a folder, so that what is in it can be completed next."""
    slash = "/" if found.display_text.endswith("/") else ""
    return Completion(found.text + slash, found.start_position, display=found.display)


def _path(name: str, rest: str) -> str | None:
    """What is typed of the name of a file, None where none is wanted."""
    if name == "/file":
        return rest
    if name == "/binary" and rest.startswith("@"):
        return rest[1:]
    return None
