"""Print the oldest versions that `pyproject.toml` admits, as constraints for pip: `make oldest`.

They are those of what a user installs: the dependencies, and the extras `auth`, `cli` and `redis`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator

from .extras import ROOT

_FOR_USERS = ("auth", "cli", "redis")
_OLDEST = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[a-z,]+\])?>=(?P<version>[0-9.]+)")


def constraints(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the constraint of each requirement to its oldest version.

    Raises `ValueError` for a requirement that names no oldest version.
    """
    for each in requirements:
        match = _OLDEST.fullmatch(each)
        if match is None:
            raise ValueError(
                f"{each}: no oldest version is named; write a name like twisted>=26.10"
            )
        yield f"{match['name']}=={match['version']}"


def requirements() -> list[str]:
    """Return what a user installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(each for name in _FOR_USERS for each in extras[name])]


def main() -> None:
    """Print the constraints, one a line."""
    sys.stdout.writelines(f"{each}\n" for each in constraints(requirements()))


if __name__ == "__main__":
    main()
