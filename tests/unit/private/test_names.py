"""No module but those of `wsservice.private` uses a private name of another library."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import wsservice
from wsservice.private import of_autobahn, of_twisted

ROOT = Path(wsservice.__file__).parent
HOME = ROOT / "private"
MODULES = sorted(path for path in ROOT.rglob("*.py") if HOME not in path.parents)

PUBLIC = {
    "_exit",  # of `os`
    "_replace",  # of named tuples
}
"""Names that their libraries document in spite of the underscore."""

LISTED = {
    name.removesuffix("()")
    for names in (
        *of_autobahn.SHARED.values(),
        of_autobahn.SPARE,
        of_twisted.SHARED_WITH_TLS,
        of_twisted.SHARED_WITH_HTTP,
    )
    for name in names
}
"""The names that our classes share with those of a library, by inheritance."""

SHARED = {
    "autobahn": LISTED,
    "twisted": {
        *LISTED,
        *(
            name
            for owner in (of_twisted.PollsTogether, of_twisted.Quiet, of_twisted.Borrowed)
            for name in (*vars(owner), *inspect.get_annotations(owner))
        ),
    },
}
"""The same, with those of the bases in `private`, by library."""


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__")


def is_own(node: ast.expr) -> bool:
    """Return True for `self`, `cls`, and `super()`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def attributes(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Yield the private attributes that code uses, each with the expression before it.

    Those that it asks for by a string are among them.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found = [(node.value, node.attr)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            by_name = node.func.id in ("getattr", "hasattr", "setattr", "delattr")
            found = list(_by_string(node.args[0], node.args[1])) if by_name else []
        elif isinstance(node, ast.Subscript) and _is_vars(node.value):
            found = list(_by_string(node.value, node.slice))
        else:
            found = []
        yield from ((value, name) for value, name in found if is_private(name))


def _by_string(value: ast.expr, name: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        yield value, name.value


def _is_vars(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__"
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "vars"


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that classes define: in their bodies, on `self`, or as slots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                yield from _bound(each)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from [node.attr] if is_own(node.value) else []


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, ast.AnnAssign):
        yield ast.unparse(node.target)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield ast.unparse(target)
            if ast.unparse(target) == "__slots__":
                yield from ast.literal_eval(node.value)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def own_names() -> set[str]:
    """The private names that classes of ours define."""
    return {name for path in MODULES for name in defined(parsed(path)) if is_private(name)}


@cache
def foreign_names() -> set[str]:
    """The private names that the modules of `private` use of others' objects."""
    return {
        name
        for path in HOME.glob("*.py")
        for value, name in attributes(parsed(path))
        if not is_own(value)
    }


def foreign_in(tree: ast.Module, own: Iterable[str], foreign: Iterable[str]) -> Iterator[str]:
    """Yield the uses of private names that are neither our own nor shared.

    A name that classes of ours define may be read of any object, since its type is unknown here;
    but not if a module of `private` uses that name of another library's objects.
    """
    for value, name in attributes(tree):
        if name in PUBLIC or name in SHARED["twisted"]:
            continue
        if name not in own or (name in foreign and not is_own(value)):
            yield f"{ast.unparse(value)}.{name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (name for name in names if is_private(name))
        elif isinstance(node, ast.Import):
            dotted = (part for alias in node.names for part in alias.name.split("."))
            yield from (name for name in dotted if is_private(name))


def test_a_module_uses_no_private_name_of_another_library() -> None:
    own, foreign = own_names(), foreign_names()
    used = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in MODULES
        for name in foreign_in(parsed(path), own, foreign)
    }
    assert used == set()


@pytest.mark.parametrize(
    "code",
    [
        "port._realPortNumber = 1",
        "self._no_such_name",
        "super()._no_such_name()",
        "reactor._reads_of_another",
        "getattr(connection, '_ssl', None)",
        "connection._ssl",
        "vars(twistd)['_SomeApplicationRunner']",
        "publisher.__dict__['_observers']",
        "from twisted.internet.posixbase import _PollLikeMixin",
        "from twisted.internet._sslverify import ClientTLSOptions",
        "import twisted.protocols._tls_legacy",
    ],
)
def test_one_that_does_is_found(code: str) -> None:
    assert list(foreign_in(ast.parse(code), own_names(), foreign_names()))


@pytest.mark.parametrize(
    "code",
    [
        "self._common",
        "connection._common",
        "self._ssl",
        "os._exit(1)",
        "connection._perMessageCompress",
        "from .frames import _python",
        "self.__class__",
    ],
)
def test_our_own_are_not(code: str) -> None:
    own = {*own_names(), "_ssl"}
    assert list(foreign_in(ast.parse(code), own, foreign_names())) == []


# Names that a class has of a library's class


def classes() -> Iterator[type]:
    """Yield the classes of wsservice that are subclasses of a library's."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "__main__.py":
            continue
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for each in vars(module).values():
            if inspect.isclass(each) and each.__module__ == module.__name__:
                yield each


@cache
def names_of(owner: type) -> set[str]:
    """Return the private names that the source of a class defines or uses of itself."""
    tree: ast.AST | None = None
    if (file := getattr(sys.modules[owner.__module__], "__file__", None)) is not None:
        tree = parsed(Path(file))
        for part in owner.__qualname__.split("."):
            nodes = ast.iter_child_nodes(tree) if tree is not None else ()
            tree = next((n for n in nodes if getattr(n, "name", "") == part), None)
    if tree is None:  # made by a function
        return set(filter(is_private, vars(owner)))
    used = (name for value, name in attributes(tree) if is_own(value))
    return set(filter(is_private, (*used, *defined(tree))))


def library(owner: type) -> str:
    return owner.__module__.partition(".")[0]


@cache
def inherited() -> dict[str, dict[str, str]]:
    """Return the names that classes of ours share with those of libraries.

    They are by library, each with a class of ours that has it.
    """
    shared: dict[str, dict[str, str]] = defaultdict(dict)
    for owner in classes():
        bases = owner.__mro__[:-1]
        ours = {n for each in bases if library(each) == "wsservice" for n in names_of(each)}
        for base in bases:
            if library(base) in ("autobahn", "twisted", "argparse", "OpenSSL"):
                for name in names_of(base) & ours:
                    shared[library(base)][name] = f"{owner.__module__}.{owner.__qualname__}"
    return shared


@pytest.mark.slow  # it reads the sources of Twisted and Autobahn
def test_a_name_that_a_class_shares_with_a_librarys_class_is_listed() -> None:
    # Two meanings of one name would overwrite each other.
    unlisted = {
        (owner, name)
        for each, names in inherited().items()
        for name, owner in names.items()
        if name not in SHARED.get(each, ())
    }
    assert unlisted == set()


def test_no_name_is_listed_for_nothing() -> None:
    used = {name for names in inherited().values() for name in names}
    assert LISTED - used - foreign_names() == {"_compressor"}  # of a `Deflate`, in `framing`
