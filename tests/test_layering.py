"""Imports run one way: down the map in the docstring of `wsservice/__init__.py`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsservice
import wsservice.broker
import wsservice.client

ROOT = Path(wsservice.__file__).parent
FRAMEWORKS = {"twisted", "autobahn", "txaio", "zope"}
MAPPED = re.findall(r"^    (\w+)(?:\.py|/)  +(.*?)(PURE)?$", wsservice.__doc__ or "", re.MULTILINE)
ORDER = [name for name, _, _ in MAPPED]
PURE = [name for name, _, pure in MAPPED if pure] + ["errors"]
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def layer(module: str) -> str:
    """The name that the map has for a module."""
    return module.split(".")[1] if "." in module else ""


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports, by full name, and whether it does so when it is imported itself."""
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
            yield name, id(node) in top
            if name == "wsservice" or name.endswith("twisted.internet"):
                for alias in node.names:
                    yield f"{name}.{alias.name}", id(node) in top


def test_the_map_names_every_module_and_no_other() -> None:
    assert sorted(ORDER) == sorted({layer(dotted(path)) for path in MODULES})


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    own = layer(dotted(path))
    for name, _ in imported(path):
        if name.startswith("wsservice.") and (above := layer(name)) in ORDER and above != own:
            assert ORDER.index(above) < ORDER.index(own), f"{dotted(path)} imports {name}"


CLIENT = sorted(path for path in (ROOT / "client").glob("*.py") if path.stem != "__init__")
CLIENT_ORDER = re.findall(r"^    (\w+)\.py  ", wsservice.client.__doc__ or "", re.MULTILINE)


def test_the_clients_map_names_every_module_and_no_other() -> None:
    assert sorted(CLIENT_ORDER) == [path.stem for path in CLIENT]


@pytest.mark.parametrize("path", CLIENT, ids=dotted)
def test_a_module_of_the_client_imports_only_what_stands_above_it(path: Path) -> None:
    for name, _ in imported(path):
        if name.startswith("wsservice.client."):
            above = name.split(".")[2]
            assert CLIENT_ORDER.index(above) < CLIENT_ORDER.index(path.stem), f"it imports {name}"


BROKER = sorted(path for path in (ROOT / "broker").glob("*.py") if path.stem != "__init__")
BROKER_MAP = re.findall(
    r"^    (\w+)\.py  +(.*?)(PURE)?$", wsservice.broker.__doc__ or "", re.MULTILINE
)
BROKER_ORDER = [name for name, _, _ in BROKER_MAP]


def test_the_brokers_map_names_every_module_and_no_other() -> None:
    assert sorted(BROKER_ORDER) == [path.stem for path in BROKER]


@pytest.mark.parametrize("path", BROKER, ids=dotted)
def test_a_module_of_the_broker_imports_only_what_stands_above_it(path: Path) -> None:
    is_pure = any(name == path.stem and pure for name, _, pure in BROKER_MAP)
    for name, _ in imported(path):
        if name.startswith("wsservice.broker."):
            above = name.split(".")[2]
            assert BROKER_ORDER.index(above) < BROKER_ORDER.index(path.stem), f"it imports {name}"
        assert not (is_pure and name.partition(".")[0] in FRAMEWORKS), f"it imports {name}"


@pytest.mark.parametrize("path", CLIENT, ids=dotted)
def test_the_client_knows_nothing_of_the_server(path: Path) -> None:
    assert not {layer(name) for name, _ in imported(path)} & {
        "server",
        "hub",
        "service",
        "listening",
        "signals",
        "tap",
    }


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer(dotted(path)) in PURE], ids=dotted
)
def test_a_pure_module_imports_no_framework(path: Path) -> None:
    assert not {each.partition(".")[0] for each, _ in imported(path)} & FRAMEWORKS


def test_pure_is_what_the_map_calls_so() -> None:
    assert {"escape", "config", "policy"} < set(PURE)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_the_reactor_is_imported_within_functions_only(path: Path) -> None:
    assert ("twisted.internet.reactor", True) not in set(imported(path))


def test_only_twistds_face_and_who_connects_import_the_reactor() -> None:
    importing = {
        dotted(path)
        for path in MODULES
        for name, _ in imported(path)
        if name == "twisted.internet.reactor"
    }
    assert importing == {
        "wsservice.tap",
        "wsservice.client.connecting",
        "wsservice.client.service",
        "wsservice.worker",
    }


def fresh(code: str) -> str:
    """What a new interpreter says."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_importing_any_module_installs_no_reactor() -> None:
    names = ", ".join(map(dotted, MODULES))
    assert fresh(f"import {names}; print('twisted.internet.reactor' in sys.modules)") == "False\n"


def test_who_has_no_broker_needs_nothing_for_it() -> None:
    modules = "wsservice.tap, wsservice.serving, wsservice.admin"
    assert fresh(f"import {modules}; print('hiredis' in sys.modules)") == "False\n"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_alone_loads_no_framework(name: str) -> None:
    said = fresh(
        f"import wsservice.{name};"
        f" print(sorted({FRAMEWORKS!r} & {{each.partition('.')[0] for each in sys.modules}}))"
    )
    # Where an editable install has a path hook, zope's namespace may be there from the start.
    assert "twisted" not in said
    assert "autobahn" not in said
    assert "txaio" not in said


def test_public_names_are_found_and_no_other() -> None:
    for name in wsservice.__all__:
        assert getattr(wsservice, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = wsservice.Nonsense
