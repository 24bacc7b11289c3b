"""Run the program, which lives in `wsservice.cli`: `python -m wsservice.client`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program, and end the process with its exit status."""
    # Imported in the function, so that a program that uses only the client loads no command line.
    from ..cli.__main__ import main as program

    program(arguments)


if __name__ == "__main__":
    main()
