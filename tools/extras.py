"""The optional packages of this project, by the extras in `pyproject.toml`."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@functools.cache
def optional() -> frozenset[str]:
    """Return the names that packages of all extras are imported by.

    They are the names in `pyproject.toml` with `_` for `-`. A package that is imported by another
    name is not among them under that name.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [each for extra in project["optional-dependencies"].values() for each in extra]
    names = {match[0] for each in lines if (match := _NAME.match(each))} - {project["name"]}
    return frozenset(name.lower().replace("-", "_") for name in names)


def is_optional(module: str) -> bool:
    """Return True if a module, by its full name, is in a package that only an extra installs."""
    return module.partition(".")[0] in optional()
