"""Choose the face of the program: prompt, script or tutorial."""

from __future__ import annotations

import os

import attrs

from .command import Command
from .script import Script, say
from .session import UserFace
from .tutorial import Tutorial


def has_person(command: Command) -> bool:
    """Return True if a person can be given a prompt: both ends are a terminal that can show it.

    Tells the user if only the library for it is missing.
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


def face_for(command: Command, person: bool) -> tuple[Command, UserFace]:
    """Return the face for a command, and the command with the settings that the face needs."""
    if command.tutorial:
        return command, Tutorial()
    if not person:
        return command, Script()
    from .prompt.prompt import Prompt  # which does not do without the library

    prompt = Prompt(command)
    config = attrs.evolve(command.config, trace=prompt.traced)
    return attrs.evolve(command, config=config), prompt
