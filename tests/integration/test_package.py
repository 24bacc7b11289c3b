"""What is built and shipped works where it is installed, away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .conftest import Connect
from .processes import Programs

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = {"dropin.cache", "twistd.pid", "twistd.log", "__pycache__"}


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copied(folder: Path) -> Path:
    """The tree as it is, with what running it left in it, but without what git ignores in bulk."""
    tree = folder / "tree"
    ignore = shutil.ignore_patterns(".*", "node_modules", "dist", "build")
    shutil.copytree(ROOT, tree, ignore=ignore)
    (tree / "twisted" / "plugins" / "dropin.cache").write_bytes(b"left by twistd")
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


PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment, with the wheel installed and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    programs = folder / "venv" / "bin"
    run(programs / "python", *PIP, built[".whl"], folder=folder)
    return programs


def talk(bin_: Path, programs: Programs, connect: Connect) -> None:
    """The plugin is found there, and serves."""
    ask = (
        "from twisted.application.service import IServiceMaker\n"
        "from twisted.plugin import getPlugins\n"
        "print([each.tapname for each in getPlugins(IServiceMaker)].count('wsdemo'))\n"
    )
    assert run(bin_ / "python", "-c", ask, folder=programs.folder) == "1\n"
    server = programs.start(bin_ / "twistd", "-n", "wsdemo", "--port", "0")
    client = connect(server.port)
    assert client.receive() == "Hello from server"
    client.send("Msg from client")
    server.log.wait_for("Message received: Msg from client\n")
    client.close()
    url = f"ws://localhost:{server.port}/"
    said = run(bin_ / "python", "-m", "wsservice.client", url, folder=programs.folder)
    assert said == "Hello from server\n"


@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_what_is_built_has_the_package_and_nothing_of_twisteds(
    built: dict[str, Path], kind: str
) -> None:
    shipped = names(built[kind])
    assert "wsservice/py.typed" in shipped
    assert [name for name in shipped if name.startswith("twisted/") and not name.endswith("/")] == [
        "twisted/plugins/wsdemo_plugin.py"
    ] or kind == ".gz"
    assert not {"twisted/__init__.py", "twisted/plugins/__init__.py"} & set(shipped)
    assert not [name for name in shipped if NOT_SHIPPED & set(name.split("/"))]


def test_the_sdist_can_test_itself(built: dict[str, Path]) -> None:
    shipped = set(names(built[".gz"]))
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "tests/needs.py"} <= shipped
    assert not [name for name in shipped if "node_modules" in name]


def test_the_wheel_serves_where_it_is_installed(
    environment: Path, programs: Programs, connect: Connect
) -> None:
    talk(environment, programs, connect)


@pytest.mark.parametrize("kind", ["sdist", "editable"])
def test_other_installs_serve_too(
    built: dict[str, Path], environment: Path, programs: Programs, connect: Connect, kind: str
) -> None:
    what = [built[".gz"]] if kind == "sdist" else ["--editable", copied(programs.folder)]
    # In the place of the wheel: its dependencies would take most of the test's time.
    run(
        *(environment / "python", *PIP, "--no-deps", "--force-reinstall", *what),
        folder=programs.folder,
    )
    talk(environment, programs, connect)
