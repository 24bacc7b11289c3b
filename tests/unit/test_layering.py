"""Imports run one way: down `ORDER`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import wsservice

ORDER = [
    "run",
    "workers.parent",
    "workers.child",
    "workers.wire",
    "workers",
    "service",
    "cli",
    "admin",
    "cluster",
    "webhook",
    "publisher",
    "publish",
    "broker",
    "broker.redis",
    "server",
    "server.page",
    "server.rates",
    "auth",
    "client",
    "directory",
    "channels",
    "protocol",
    "protocol.frames",
    "net",
    "log",
    "metrics",
    "scaling",
    "config",
    "http",
    "clock",
    "private",
    "escape",
    "errors",
]
"""From top to bottom: each may import only from itself, and from what stands below it."""

EXCEPTIONS = {
    ("client.__main__", "cli.__main__"),  # forever: the name of the program that the docs give
}
"""Imports that run upwards all the same: importing module, imported module."""

PURE = [
    "auth.action",
    "auth.claims",
    "auth.certificate",
    "auth.contract",
    "auth.permissions",
    "auth.rules",
    "auth.credentials",
    "auth.refusals",
    "auth.throttle",
    "broker.calls",
    "broker.framing",
    "broker.naming",
    "broker.redis.address",
    "broker.redis.claims",
    "broker.redis.identity",
    "broker.redis.scripting",
    "broker.ring",
    "broker.scripts",
    "broker.standing",
    "channels.envelopes",
    "channels.history",
    "channels.keeping",
    "channels.message",
    "channels.outcome",
    "channels.page",
    "channels.query",
    "cli.completion",
    "cli.goal",
    "cli.largest",
    "cli.prompt.pretty",
    "cli.prompt.stats",
    "cli.prompt.typed",
    "cli.status",
    "config.close_codes",
    "config.config",
    "config.fields",
    "config.files",
    "config.globs",
    "config.helptext",
    "config.identity",
    "config.integrations",
    "config.keep",
    "config.limits",
    "config.named",
    "config.origins",
    "config.rates",
    "config.rules",
    "config.sources",
    "config.units",
    "directory.outcomes",
    "directory.readiness",
    "errors",
    "escape",
    "http.forwarded",
    "http.grammar",
    "http.head",
    "http.headers",
    "http.hostname",
    "http.refusal",
    "http.request",
    "http.target",
    "metrics",
    "net.backoff",
    "net.cgroups",
    "net.gathering",
    "net.proxy_header",
    "net.server_names",
    "private",
    "private.of_python",
    "protocol.budget",
    "protocol.frames",
    "protocol.frames._python",
    "protocol.sending",
    "publish",
    "publish.__main__",
    "publish.http",
    "publisher",
    "run.may",
    "scaling",
    "scaling.__main__",
    "scaling.figures",
    "scaling.model",
    "scaling.shown",
    "server.admission",
    "server.first_message",
    "server.handshake",
    "server.latest",
    "server.page",
    "auth",
    "server.plain",
    "server.rates",
    "server.rates.bucket",
    "server.rates.connects",
    "server.rates.table",
    "server.remembered",
    "server.secrets",
    "server.switching",
    "workers.child.sketch",
    "workers.parent.sums",
    "workers.wire.coding",
    "workers.wire.framing",
    "workers.wire.messages",
    "workers.wire.reports",
]
"""Modules that load nothing of Twisted or Autobahn, whatever they import."""

MOST_TOP_MODULES = 5
MOST_FILES = 22
LONGEST_MAP = 30
MOST_LINES = 450

ROOT = Path(wsservice.__file__).parent
FRAMEWORKS = {"twisted", "autobahn", "txaio", "zope"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
PACKAGES = sorted(path.parent for path in MODULES if path.name == "__init__.py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def short(name: str) -> str:
    return name.removeprefix("wsservice").lstrip(".")


def layer(module: str) -> str | None:
    """The longest entry of `ORDER` that a module is, or lies in."""
    parts = short(module).split(".")
    entries = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((each for each in entries if each in ORDER), None)


@cache
def imported(path: Path) -> list[tuple[str, bool]]:
    """Return a module's imports by full name, each with True if it is at module level."""
    return list(_imported(path))


def _imported(path: Path) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    package = dotted(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{name}.{alias.name}"
                is_module = full in NAMES or full == "twisted.internet.reactor"
                yield full if is_module else name, id(node) in top


def ours(path: Path) -> set[str]:
    return {name for name, _ in imported(path) if name in NAMES}


def test_each_module_has_a_place_and_each_place_a_module() -> None:
    assert {layer(name) for name in NAMES} == set(ORDER)


def test_a_module_imports_only_what_stands_below_it() -> None:
    upwards = {
        (short(dotted(path)), short(name))
        for path in MODULES
        for name in ours(path)
        if ORDER.index(layer(name) or "") < ORDER.index(layer(dotted(path)) or "")
    }
    # An exception that is no import any more has to leave the list.
    assert upwards == EXCEPTIONS
    for one, other in EXCEPTIONS:
        assert ORDER.index(layer(other) or "") < ORDER.index(layer(one) or "")


def test_no_imports_make_a_circle() -> None:
    graph = {dotted(path): ours(path) - {dotted(path)} for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_few_modules_stand_beside_the_packages() -> None:
    beside = [path.stem for path in ROOT.glob("*.py") if path.stem not in ("__init__", "__main__")]
    assert len(beside) <= MOST_TOP_MODULES, beside


@pytest.mark.parametrize("package", PACKAGES, ids=dotted)
def test_a_package_has_few_files(package: Path) -> None:
    assert len(list(package.glob("*.py"))) <= MOST_FILES


def test_a_module_is_short_enough_to_have_one_reason_to_change() -> None:
    paths = [ROOT / "__init__.py", *MODULES]
    lines = {dotted(path): path.read_text().count("\n") for path in paths}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_the_map_is_short_and_names_each_package_and_module() -> None:
    text = (wsservice.__doc__ or "").rstrip("\n")
    assert text.count("\n") < LONGEST_MAP
    there = {f"{path.name}/" for path in PACKAGES if path.parent == ROOT}
    there |= {path.name for path in ROOT.glob("*.py") if path.name != "__init__.py"}
    named = re.findall(r"^    (\w+(?:\.py|/))  ", text, re.MULTILINE)
    assert sorted(named) == sorted(there)
    tops = list(dict.fromkeys(each.partition(".")[0] for each in ORDER))
    assert [each.removesuffix(".py").rstrip("/") for each in named] == tops


@pytest.mark.parametrize("package", PACKAGES, ids=dotted)
def test_a_package_names_its_modules_and_no_other(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    assert text
    if "The modules::" in text:
        named = re.findall(r"^    (\w+(?:\.py|/)) ", text, re.MULTILINE)
        there = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
        there += [f"{path.name}/" for path in PACKAGES if path.parent == package]
        assert sorted(named) == sorted(there)


def test_the_client_knows_nothing_of_what_serves() -> None:
    apart = {"server", "directory", "channels.hub", "net.listening"}
    for path in MODULES:
        if layer(dotted(path)) == "client":
            for name in map(short, ours(path)):
                assert not any(name == each or name.startswith(f"{each}.") for each in apart)


def importing(package: str) -> dict[str, set[str]]:
    """Return the modules outside a package that import of it, each with what it imports."""
    found = {short(dotted(path)): {short(name) for name in ours(path)} for path in MODULES}
    within = {
        module: {name for name in names if f"{name}.".startswith(f"{package}.")}
        for module, names in found.items()
        if not f"{module}.".startswith(f"{package}.")
    }
    return {module: names for module, names in within.items() if names}


def test_only_a_starter_of_the_admin_face_imports_of_it_and_none_makes_http_answers() -> None:
    users = importing("admin")
    assert {module.partition(".")[0] for module in users} == {"run", "service", "workers"}
    assert {module for module in users if module.startswith("workers.")} == {"workers.parent.admin"}
    answers = {"admin.answers", "admin.exchange", "admin.routes", "admin.web"}
    assert not answers & set().union(*users.values())


@pytest.mark.slow  # a new interpreter
def test_a_worker_with_an_admin_face_at_its_parent_loads_no_http_server() -> None:
    modules = "wsservice.workers.child.__main__, wsservice.workers.child.report"
    heavy = {"prometheus_client", "twisted.web.http"}
    assert fresh(f"import {modules}; print({heavy!r} & set(sys.modules))") == "set()\n"


def test_the_reactor_is_imported_within_functions_only() -> None:
    at_the_top = ("twisted.internet.reactor", True)
    assert [dotted(path) for path in MODULES if at_the_top in imported(path)] == []


def test_only_programs_and_clients_import_the_reactor() -> None:
    importing = {
        short(dotted(path))
        for path in MODULES
        for name, _ in imported(path)
        if name == "twisted.internet.reactor"
    }
    assert importing == {
        "run.tap",
        "client.connecting",
        "client.service",
        "workers.child.__main__",
    }


def fresh(code: str) -> str:
    """Run code in a new interpreter, and return its output."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, check=True
    )
    return result.stdout


@pytest.mark.slow  # a new interpreter
def test_importing_any_module_installs_no_reactor() -> None:
    names = ", ".join(sorted(NAMES))
    assert fresh(f"import {names}; print('twisted.internet.reactor' in sys.modules)") == "False\n"


@pytest.mark.slow  # a new interpreter
def test_a_service_without_a_broker_needs_nothing_for_it() -> None:
    modules = "wsservice.run.tap, wsservice.workers.child.service, wsservice.admin"
    assert fresh(f"import {modules}; print('hiredis' in sys.modules)") == "False\n"


def test_a_pure_module_imports_no_framework() -> None:
    paths = {short(dotted(path)): path for path in MODULES}
    loaded = {
        (name, package)
        for name in PURE
        for each, _ in imported(paths[name])
        if (package := each.partition(".")[0]) in FRAMEWORKS
    }
    assert loaded == set()


def test_pure_modules_load_no_framework() -> None:
    names = ", ".join(f"wsservice.{each}" for each in PURE)
    said = fresh(
        f"import {names};"
        f" print(sorted({FRAMEWORKS!r} & {{each.partition('.')[0] for each in sys.modules}}))"
    )
    # If an editable install has a path hook, zope's namespace may be there from the start.
    assert "twisted" not in said
    assert "autobahn" not in said
    assert "txaio" not in said


def test_what_has_to_be_pure_is() -> None:
    assert {
        "escape",
        "config.config",
        "config.origins",
        "server.admission",
        "channels.history",
        "channels.message",
        "channels.outcome",
        "publish",
    } < set(PURE)


def test_public_names_are_found_and_no_other() -> None:
    for name in wsservice.__all__:
        assert getattr(wsservice, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = wsservice.Nonsense
