"""Which face the program has."""

from __future__ import annotations

import os

import attrs

from .command import Command
from .script import Script, say
from .session import Face
from .tutorial import Tutorial


def has_person(command: Command) -> bool:
    """Whether there is a person to be given a prompt, and it can be shown.

    Where only the library for it is missing, says so.
    """
    if command.tutorial or not (os.isatty(0) and os.isatty(1)):
        return False
    if os.environ.get("TERM", "") in ("", "dumb"):
        return False
    try:
        import prompt_toolkit  # noqa: F401
    except ImportError:
        say("there is no prompt without prompt_toolkit: pip install 'wsservice[cli]'")
        return False
    return True


def face_for(command: Command, person: bool) -> tuple[Command, Face]:
    """The face that a command wants, and the command as that wants it."""
    if command.tutorial:
        return command, Tutorial()
    if not person:
        return command, Script()
    from .prompt import Prompt  # which does not do without the library

    prompt = Prompt(command)
    config = attrs.evolve(command.config, trace=prompt.traced)
    return attrs.evolve(command, config=config), prompt
