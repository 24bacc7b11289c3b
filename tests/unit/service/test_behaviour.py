from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsservice.errors import ConfigError
from wsservice.server.behaviours import EchoServerProtocol, GreetingServerProtocol, ServerProtocol
from wsservice.service.behaviour import find_protocol


class TestFindProtocol:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A current folder of its own, what is imported from which is forgotten again."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        before = set(sys.modules)
        yield tmp_path
        for name in set(sys.modules) - before:
            del sys.modules[name]

    def refused(self, name: str) -> str:
        with pytest.raises(ConfigError) as caught:
            find_protocol(name)
        message = str(caught.value)
        assert message.startswith("--protocol: ")
        assert message.isprintable()
        return message.removeprefix("--protocol: ")

    ALLOWED = "give greeting, echo, or the dotted name of a subclass of wsservice.ServerProtocol"

    def test_short_names_are_those_that_come_with_it(self) -> None:
        assert find_protocol("greeting") is GreetingServerProtocol
        assert find_protocol("echo") is EchoServerProtocol

    def test_a_dotted_name_is_imported(self) -> None:
        assert find_protocol("wsservice.ServerProtocol") is ServerProtocol

    def test_a_module_in_the_current_folder_is_found(self, folder: Path) -> None:
        (folder / "chat.py").write_text(
            "import wsservice\nclass Chat(wsservice.ServerProtocol): pass\n"
        )
        assert find_protocol("chat.Chat").__name__ == "Chat"
        assert find_protocol("chat.Chat") is find_protocol("chat.Chat")
        assert sys.path.count(str(folder)) == 1

    @pytest.mark.parametrize(
        "name", ["nonsense", ".Chat", "chat.", "a b.C", "chat..Chat", "../x.Y"]
    )
    def test_what_is_no_name_is_refused(self, name: str) -> None:
        assert self.refused(name) == f"{name!r} is not allowed; {self.ALLOWED}"

    def test_a_module_that_is_missing(self) -> None:
        assert self.refused("no_such.Chat") == (
            "'no_such.Chat' cannot be imported, ModuleNotFoundError: No module named 'no_such'"
        )

    def test_a_class_that_is_missing(self) -> None:
        assert self.refused("wsservice.Chat") == f"module 'wsservice' has no 'Chat'; {self.ALLOWED}"

    @pytest.mark.parametrize("name", ["wsservice.Config", "os.path", "wsservice.__version__"])
    def test_what_is_no_subclass(self, name: str) -> None:
        assert self.refused(name) == f"{name!r} is not a subclass of ServerProtocol; {self.ALLOWED}"

    def test_a_module_that_is_no_python(self, folder: Path) -> None:
        (folder / "broken.py").write_text("\nclass Chat(:\n")
        problem = self.refused("broken.Chat")
        assert problem.startswith("'broken.Chat' cannot be imported, SyntaxError: ")
        assert "broken.py, line 2" in problem

    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("raise ValueError('a\\nb\\x1b')", r"ValueError: a\nb\x1b"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("import no_such", "ModuleNotFoundError: No module named 'no_such'"),
        ],
    )
    def test_a_module_that_fails_names_its_line(
        self, folder: Path, statement: str, error: str
    ) -> None:
        (folder / "failing.py").write_text(f"\n{statement}\n")
        assert self.refused("failing.Chat") == (
            f"'failing.Chat' cannot be imported, {error} ({folder}/failing.py, line 2)"
        )
