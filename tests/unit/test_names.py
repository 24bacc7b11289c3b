"""A class name has one meaning: the few that stand twice are in one literal, each with why.

A class within a function is left out: nobody imports it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import wsservice

PACKAGE = Path(wsservice.__file__).parent

MOST_TWICE = 5

# The modules that define a name, and why a second one is right.
TWICE = {
    # Public words of docs/inbox.md and docs/client.md. A reader has one of the two at hand.
    "Inbox": {"broker.inbox", "client.inbox"},
    # The same thing for Redis and for a connection: messages wait until they can leave.
    "Outbox": {"broker.outbox", "client.outbox"},
    # The exit statuses of two programs, which import nothing of each other.
    "Status": {"cli.status", "publish.__main__"},
    # How a program ends, and how it writes its usage: each program loads nothing of the others.
    "_EndError": {"publish.__main__", "scaling.__main__"},
    "_Parser": {"cli.command", "publish.__main__", "scaling.__main__"},
}


def classes(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the classes of a module, those within others included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from classes(node)


def name_of(path: Path) -> str:
    """Return a module's name within the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def defined_twice() -> dict[str, list[str]]:
    """Return the class names that are defined more than once, and the modules that do."""
    homes = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in classes(ast.parse(path.read_text(encoding="utf-8"))):
            homes[name].append(name_of(path))
    return {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_only_the_names_of_the_literal_stand_twice() -> None:
    found = defined_twice()
    assert {name: set(modules) for name, modules in found.items()} == TWICE
    # A module that defines one name twice would vanish in its set.
    assert all(len(modules) == len(TWICE[name]) for name, modules in found.items())


def test_the_literal_stays_short() -> None:
    assert len(TWICE) <= MOST_TWICE


def test_all_classes_of_a_module_are_found() -> None:
    source = "class A:\n class B: pass\n def f(self):\n  class C: pass\nif A:\n class D: pass\n"
    assert list(classes(ast.parse(source))) == ["A", "B", "D"]
