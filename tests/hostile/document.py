"""The page of measurements, `docs/hostile-figures.md`, which `make hostile` writes.

A run of some rows replaces their lines; the others stay as they are, measured or not yet. Each
line has its date and the load of the machine. `docs/security.md` has the same attacks for people,
by hand.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

from .beside import ROOT
from .harness import MEDIAN, WORST, Alone, Result, Row, Told

PAGE = ROOT / "docs" / "hostile-figures.md"

SECTIONS = {
    "test_numbers": "Attacks in numbers",
    "test_floods": "Floods by one connection",
    "test_slow_clients": "Clients that read slowly",
    "test_unfinished": "Unfinished messages",
    "test_endings": "Connections that do not end",
    "test_many": "Many connections",
    "test_handshakes": "Opening handshakes",
    "test_identity": "Credentials",
    "test_rules": "Forbidden channels",
    "test_tokens": "JSON Web Tokens",
    "test_addresses": "False addresses",
    "test_tls": "TLS handshakes",
    "test_limits": "Messages beyond the limits",
    "test_rates": "Limits on speed",
    "test_protocol_errors": "Protocol errors",
    "test_random": "Random octets",
    "test_fuzz": "Mutated traffic",
    "test_tickets": "Tickets and admin tokens",
    "test_log": "The log",
    "test_failures": "Failures",
}
"""The heading of each module's rows, in their order."""

COLUMNS = ("attack", "what the peer got", "bound", "measured", "when, load")


def line(result: Result | Told, day: str) -> str:
    """Return the line of a result in its table. `day` is when it was measured."""
    row = result.row
    cells = [row.name, result.got, row.bound, result.figures, f"{day}, {result.load:.1f}"]
    return _line(cells)


def known(text: str) -> dict[str, str]:
    """Return the lines that a page has, by the names of their rows."""
    lines = [each for each in text.splitlines() if each.startswith("| ")]
    return {each[2:].partition(" | ")[0]: each for each in lines}


def page(rows: Iterable[Row | Alone], lines: dict[str, str]) -> str:
    """Return the page. `lines` has the lines of rows, by name, as far as they were measured."""
    tables: dict[str, list[str]] = {theme: [] for theme in SECTIONS}
    for row in rows:
        there = lines.get(row.name, "")
        # If the bound has changed since, the measurement says nothing.
        known_bound = f" | {row.bound} | " in there
        unknown = _line([row.name, "", row.bound, "not measured yet", ""])
        tables[row.theme].append(there if known_bound else unknown)
    versions = ", ".join(f"{name} {version(name)}" for name in ("wsservice", "autobahn", "twisted"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parts = [
        "# Measurements of attacks",
        "",
        "`make hostile` makes each of these attacks on a `twistd wsdemo` of its own and writes",
        "this page. [security.md](security.md) has the attacks and their bounds for people.",
        "",
        "- *Turn*: what the reactor does at one go, in CPU time.",
        "- *Neighbour*, *round trip*: a client beside the attack that says a word every 5 ms. A",
        "  figure is the CPU time that the process that serves takes from a word to its echo.",
        f"  Bounds are {1000 * MEDIAN:g} ms for the median and {1000 * WORST:g} ms for the worst.",
        "- *Memory*: by how much the server's resident memory grew, all processes together.",
        "- *Load*: how many programs of the machine ran or waited for a CPU, in the last minute",
        "  on average. The machine has 2 CPUs and other programs use it too: therefore bounds are",
        "  CPU time wherever they can be.",
        "",
        f"{versions}, {python}.",
    ]
    for theme, heading in SECTIONS.items():
        parts += ["", f"## {heading}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        parts += tables[theme]
    return "\n".join([*parts, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
