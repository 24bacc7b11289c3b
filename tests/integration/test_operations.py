"""docs/operations.md, from the install on: its commands are run, its files are there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from wsservice.admin.tokens import AdminTokens

from ..needs import need_program
from .processes import can_connect, free_port, wait_until
from .test_container import copied
from .test_listening_places import make_certificate
from .test_systemd import SERVICE, SOCKET, setting

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "operations.md").read_text()

_NEED_A_MANAGER = {
    "systemctl daemon-reload",
    "systemctl status wsservice",
    "systemctl kill --signal=USR1 --kill-whom=main wsservice",
}
"""The commands that need systemd as process 1."""

_NEED_AN_ENGINE = {"podman build", "podman run"}


def section(title: str) -> str:
    """Return the text under a heading."""
    parts = re.split(r"^## (.+)$", MANUAL, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def commands(title: str) -> list[str]:
    """Return the commands of a section."""
    blocks = re.findall(r"```console\n(.*?)```", section(title), re.DOTALL)
    return re.findall(r"^\$ (.+)$", "".join(blocks), re.MULTILINE)


def ran(command: str | Sequence[str | Path], folder: Path) -> str:
    """Run a command that must succeed, and return its output."""
    arguments = shlex.split(command) if isinstance(command, str) else list(map(str, command))
    need_program(arguments[0])
    done = subprocess.run(
        arguments,
        cwd=folder,
        # As at a prompt, with the codec that comes of it. To compile all that is installed
        # takes longer than the rest (pip wants 0 for such an option).
        env={**os.environ, "WSSERVICE_NATIVE": "", "PIP_NO_COMPILE": "0"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that stands for `/` of a machine, with the service installed as documented.

    It is installed from the files that the Containerfile copies: they must suffice.
    """
    root = tmp_path_factory.mktemp("machine")
    project = root / "project"
    project.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*dropin.cache*")
    for each in copied():
        if (ROOT / each).is_dir():
            shutil.copytree(ROOT / each, project / each, ignore=ignore)
        else:
            shutil.copy(ROOT / each, project)
    shutil.copytree(ROOT / "deploy", project / "deploy")
    typed = commands("Install")
    assert len(typed) == 3
    said = [
        ran(each.replace("/opt/", f"{root}/opt/").replace("python3", sys.executable, 1), project)
        for each in typed
    ]
    assert said[-1].startswith("wsservice ")
    return root


def test_the_units_are_installed_and_enabled_as_printed(machine: Path) -> None:
    project = machine / "project"
    done = []
    for typed in commands("Under systemd"):
        if typed in _NEED_A_MANAGER:
            continue
        here = typed.replace(" /etc/", f" {machine}/etc/")
        if typed.startswith("systemctl enable --now "):
            here = here.replace(" --now", f" --root={machine}")
        if typed.startswith("systemd-analyze "):
            for unit in (SERVICE, SOCKET):
                path = machine / "etc/systemd/system" / unit.name
                path.write_text(path.read_text().replace("/opt/", f"{machine}/opt/"))
        ran(["sh", "-c", here], project)
        done.append(typed.split()[0])
    assert done == ["mkdir", "install", "install", "systemd-analyze", "systemctl"]
    (credential,) = setting(SERVICE, "LoadCredential")
    name, _, target = credential.partition(":")
    token = machine / target.lstrip("/")
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o005 == 0o005
    settings = tomllib.loads((project / "deploy/ws.toml").read_text())
    assert settings["admin_token_file"] == f"/run/credentials/{SERVICE.name}/{name}"
    assert AdminTokens.read(str(token))
    assert set(commands("Under systemd")) >= _NEED_A_MANAGER
    wants = machine / "etc/systemd/system"
    assert (wants / "multi-user.target.wants" / SERVICE.name).is_symlink()
    assert (wants / "sockets.target.wants" / SOCKET.name).is_symlink()
    assert (machine / "etc/wsservice/ws.toml").is_file()


def test_the_settings_are_those_that_the_service_takes(machine: Path) -> None:
    need_program("systemd-socket-activate")
    token = machine / "run.token"
    token.touch(0o600)
    token.write_text("secret")
    settings = (machine / "project/deploy/ws.toml").read_text()
    documented = tomllib.loads(settings)["admin_token_file"]
    (machine / "checked.toml").write_text(settings.replace(documented, str(token)))
    twistd = machine / "opt/wsservice/bin/twistd"
    program = subprocess.Popen(
        [
            *(
                "systemd-socket-activate",
                "--fdname=ws",
                f"--listen=127.0.0.1:{(port := free_port())}",
            ),
            *(twistd, "-n", "wsdemo", "--config", machine / "checked.toml"),
            "--check-config",
        ],
        cwd=machine,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        wait_until(lambda: can_connect(port), "the socket")
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert 'listen = ["haproxy:systemd:domain=INET:name=ws"]  # ' in said


def test_haproxy_starts_as_printed(machine: Path, tmp_path: Path) -> None:
    need_program("haproxy")
    project = machine / "project"
    key, certificate = make_certificate(tmp_path)
    shutil.copy(key, project / "key.pem")
    shutil.copy(certificate, project / "cert.pem")
    concatenate, check, start, _ = commands("Behind nginx or HAProxy")
    ran(["sh", "-c", concatenate], project)
    ran(check, project)
    assert start.split() == ["haproxy", "-db", "-f", check.split()[-1]]


def test_what_watches_it_is_checked_as_printed(machine: Path) -> None:
    project = machine / "project"
    copy, *checks = commands("Watching it")
    assert len(checks) == 2
    # The group is that of Debian's package; only root may give a file to it.
    (machine / "etc/prometheus").mkdir(parents=True, exist_ok=True)
    (machine / "etc/wsservice").mkdir(parents=True, exist_ok=True)
    (machine / "etc/wsservice/admin.token").touch()
    assert " -g prometheus " in copy
    ran(copy.replace(" -g prometheus", "").replace(" /etc/", f" {machine}/etc/"), project)
    configuration = project / "deploy/prometheus/prometheus.yml"
    text = configuration.read_text()
    destination = copy.split()[-1]
    assert f"credentials_file: {destination}\n" in text
    configuration.write_text(text.replace(destination, f"{machine}{destination}"))
    for each in checks:
        assert "SUCCESS" in ran(each, project)


def test_each_alert_is_in_the_manual() -> None:
    rules = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    named = re.findall(r"`(Wsservice\w+)`", section("Watching it"))
    assert sorted(named) == sorted(re.findall(r"- alert: (\w+)", rules))


def test_what_is_not_run_here_wants_an_engine_for_containers() -> None:
    typed = commands("In a container")
    assert {" ".join(each.split()[:2]) for each in typed} == _NEED_AN_ENGINE
    assert "have not been run" in section("In a container")


def test_files_that_it_names_are_there() -> None:
    for path in re.findall(r"\]\((?!#)([^)#]+)", MANUAL):
        assert (ROOT / "docs" / path).exists(), path
    anchors = {
        re.sub(r"[^a-z ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.+)$", MANUAL, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", MANUAL)) <= anchors
    for page in (ROOT / "docs").glob("*.md"):
        for anchor in re.findall(r"operations\.md#([\w-]+)", page.read_text()):
            assert anchor in anchors
