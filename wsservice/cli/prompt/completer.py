"""Complete the line at the prompt when Tab is pressed."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from .typed import COMMANDS

_CHOICES = {"/json": ("on", "off")}


class TypedCompleter(Completer):
    """Complete commands, and the arguments of some."""

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
    """Return a completion, with a slash after a folder to complete its content next."""
    slash = "/" if found.display_text.endswith("/") else ""
    return Completion(found.text + slash, found.start_position, display=found.display)


def _path(name: str, rest: str) -> str | None:
    """Return the typed part of a path; None if the command takes no path."""
    if name == "/file":
        return rest
    if name == "/binary" and rest.startswith("@"):
        return rest[1:]
    return None
