"""The built package works where it is installed, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from ..needs import need, need_program
from .conftest import Connect
from .processes import Programs
from .test_plain_http import ask

ROOT = Path(__file__).parents[2]
AS_INSTALLED = {"WSSERVICE_NATIVE": ""}
"""With the codec that is there, whichever this test is told to use."""
PAGES = {
    path.name
    for path in (ROOT / "wsservice" / "server" / "page").iterdir()
    if path.suffix in (".html", ".css", ".js")
}
NOT_SHIPPED = {"dropin.cache", "twistd.pid", "twistd.log", "__pycache__"}


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copied(folder: Path) -> Path:
    """The tree as it is, with what running it left in it, but without what git ignores in bulk."""
    tree = folder / "tree"
    ignore = shutil.ignore_patterns(
        *(".*", "node_modules", "dist", "build", "*.egg-info", "*.so"),
        # What is written by tests beside this one may be gone while it is copied.
        *("conformance-reports", "*dropin.cache*", "*.pyc.*"),
    )
    shutil.copytree(ROOT, tree, ignore=ignore)
    (tree / "twisted" / "plugins" / "dropin.cache").write_bytes(b"left by twistd")
    (tree / "wsservice" / "protocol" / "frames" / "_native.cpython-27.so").write_bytes(
        b"left by another"
    )
    return tree


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel, built from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder=copied(folder))
    return {path.suffix: path for path in (folder / "dist").iterdir()}


def names(archive: Path) -> list[str]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as sdist:
        return [name.partition("/")[2] for name in sdist.getnames()]


def need_compiler() -> None:
    """The test needs a C compiler, and the headers of this Python."""
    need_program((sysconfig.get_config_var("CC") or "cc").split()[0])
    headers = Path(sysconfig.get_path("include"), "Python.h")
    need(headers.exists(), "the headers of this Python")


PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment, with the wheel installed and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    programs = folder / "venv" / "bin"
    run(programs / "python", *PIP, built[".whl"], folder=folder)
    return programs


def talk(bin_: Path, programs: Programs, connect: Connect, codec: str) -> None:
    """The plugin is found there, and serves, with a codec."""
    plugins = (
        "from twisted.application.service import IServiceMaker\n"
        "from twisted.plugin import getPlugins\n"
        "print([each.tapname for each in getPlugins(IServiceMaker)].count('wsdemo'))\n"
    )
    assert run(bin_ / "python", "-c", plugins, folder=programs.folder) == "1\n"
    server = programs.start(
        *(bin_ / "twistd", "-n", "wsdemo", "--port", "0"), environment=AS_INSTALLED
    )
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    assert ask(server.port, "GET", headers={"Accept": "text/html"})[0].status == 200
    client.send("Msg from client")
    server.log.wait_for("Message received: Msg from client\n")
    server.log.wait_for(f"messages are read by the {codec} codec\n")
    client.close()
    url = f"ws://localhost:{server.port}/"
    client_command: list[str | Path] = [bin_ / "python", "-m", "wsservice.client", url]
    said = run(*client_command, folder=programs.folder, **AS_INSTALLED)
    assert said == "Hello from server\n"
    scaling: list[str | Path] = [bin_ / "python", "-m", "wsservice.scaling", "--connections", "1e6"]
    assert "\nnodes: " in run(*scaling, folder=programs.folder)


@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_what_is_built_has_the_package_and_nothing_of_twisteds(
    built: dict[str, Path], kind: str
) -> None:
    shipped = names(built[kind])
    assert "wsservice/py.typed" in shipped
    assert {f"wsservice/server/page/{name}" for name in PAGES} <= set(shipped)
    assert "wsservice/scaling/figures.toml" in shipped
    assert [name for name in shipped if name.startswith("twisted/") and not name.endswith("/")] == [
        "twisted/plugins/wsdemo_plugin.py",
    ] or kind == ".gz"
    assert not {"twisted/__init__.py", "twisted/plugins/__init__.py"} & set(shipped)
    assert not [name for name in shipped if NOT_SHIPPED & set(name.split("/"))]
    assert [name for name in shipped if name.endswith("LICENSE")]


def test_a_wheel_with_the_native_codec_is_for_this_python_only(built: dict[str, Path]) -> None:
    need_compiler()
    shipped = names(built[".whl"])
    (native,) = [name for name in shipped if name.startswith("wsservice/protocol/frames/_native")]
    assert native.endswith(sysconfig.get_config_var("EXT_SUFFIX"))
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert built[".whl"].name.split("-")[2:4] == [python, python]
    assert not [name for name in shipped if name.startswith(("tests", "setup"))]


def test_make_serve_tells_where_the_client_finds_the_service() -> None:
    make = need_program("make")
    hint = "In another terminal: .venv/bin/python -m wsservice.client"
    for port, url in (("8080", ""), ("9000", " ws://localhost:9000/websockets/")):
        told = run(
            make, "--dry-run", "serve", f"PORT={port}", "VENV=.venv", folder=ROOT, MAKEFLAGS=""
        )
        assert f"'{hint}{url}'" in told


def test_the_sdist_can_test_itself(built: dict[str, Path]) -> None:
    shipped = set(names(built[".gz"]))
    asked = {
        "pyproject.toml",
        "setup.py",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "SECURITY.md",
    }
    asked |= {"wsservice/protocol/frames/_native.c", "tests/needs.py", "tests/interop/package.json"}
    asked |= {"tools/check.py", "tools/prose.py"}
    for folder in ("deploy", "docs"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        asked |= {str(path.relative_to(ROOT)) for path in files}
    assert asked <= shipped
    assert not [name for name in shipped if "node_modules" in name]


def test_the_wheel_serves_where_it_is_installed(
    environment: Path, programs: Programs, connect: Connect
) -> None:
    need_compiler()
    talk(environment, programs, connect, "native")


@pytest.mark.parametrize("kind", ["sdist", "editable"])
@pytest.mark.parametrize("codec", ["native", "python"])
def test_other_installs_serve_too(
    built: dict[str, Path],
    environment: Path,
    programs: Programs,
    connect: Connect,
    kind: str,
    codec: str,
) -> None:
    compiler = {"CC": "false"}
    if codec == "native":
        need_compiler()
        compiler = {}
    what = [built[".gz"]] if kind == "sdist" else ["--editable", copied(programs.folder)]
    # In the place of the wheel: its dependencies would take most of the test's time.
    run(
        # Else it would install again what it built of the same sdist before.
        *(environment / "python", *PIP, "--no-deps", "--force-reinstall", "--no-cache-dir", *what),
        folder=programs.folder,
        **compiler,
    )
    talk(environment, programs, connect, codec)
