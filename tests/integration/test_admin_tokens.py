"""Several tokens of the admin face, with rights, of a service that runs, in workers too."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from wsservice.errors import NotAcceptedError
from wsservice.publisher import Published, Publisher

from .conftest import Connect
from .processes import Program, Programs
from .test_admin import LOOPBACK, Asking, admin_of
from .test_refusals import refused
from .test_reloading import ANEW, NOT, hang_up

RIGHTS = {"grafana": "read", "shop": "publish", "guard": "close", "anna": "all"}


class Guarded:
    """A service, and the tokens of its admin face."""

    def __init__(self, programs: Programs, workers: str) -> None:
        self.path = programs.folder / "tokens"
        self.tokens = {name: secrets.token_hex(16) for name in RIGHTS}
        self.write(RIGHTS)
        self.program: Program = programs.twistd(
            *("--port", "0", "--workers", workers, "--protocol", "echo"),
            *("--admin", LOOPBACK, "--admin-token-file", "tokens"),
        )
        self.program.log.wait_for("up to ")
        self.face = admin_of(self.program).place
        ports = self.program.log.wait_for_ports(2)
        self.port = next(each for each in ports if each != self.face)

    def write(self, rights: dict[str, str], extra: str = "") -> None:
        lines = [f"{name}  {may}  {self.tokens[name]}" for name, may in rights.items()]
        self.path.write_text("# a comment\n\n" + "\n".join([*lines, extra]))
        self.path.chmod(0o600)

    def ask(self, name: str, target: str, method: str = "GET") -> int:
        token = self.tokens.get(name, name)
        return Asking(self.face, token).ask(target, method=method).status

    def publisher(self, name: str) -> Publisher:
        return Publisher(f"http://127.0.0.1:{self.face}", token=self.tokens[name])


@pytest.mark.parametrize("workers", ["1", "2"])
class TestRights:
    def test_each_may_do_its_part_and_is_logged_by_name(
        self, programs: Programs, connect: Connect, workers: str
    ) -> None:
        service = Guarded(programs, workers)
        wire = connect(service.port, path="/news")
        wire.send("there?")
        assert wire.receive() == "there?"
        asked = {
            ("/metrics", "GET"): "read",
            ("/connections", "GET"): "read",
            ("/channels/news", "GET"): "read",
            ("/publish/news", "POST"): "publish",
            ("/connections/1/send", "POST"): "publish",
            ("/connections/1/close", "POST"): "close",
        }
        for (target, method), right in asked.items():
            for name, may in RIGHTS.items():
                if (target, name) == ("/connections/1/close", "anna"):
                    continue  # the guard does it
                status = service.ask(name, target, method)
                assert (status in (200, 202)) == (may in (right, "all")), (target, name)
                assert status in (200, 202, 403)
            assert service.ask("", target, method) == 401
        text = service.program.log.text
        assert "admin token guard: POST /connections/1/close was answered with 202" in text
        assert "admin token shop: POST /publish/news was answered with 200" in text
        assert (
            "admin token grafana: POST /publish/news was refused, it has no right to publish"
            in text
        )
        assert "GET /metrics was answered" not in text
        for token in service.tokens.values():
            assert token not in text
        counted = Asking(service.face, service.tokens["anna"]).value(
            "wsservice_admin_requests_total", token="shop", right="publish"
        )
        assert counted == 2

    def test_a_publisher_needs_one_right(
        self, programs: Programs, connect: Connect, workers: str
    ) -> None:
        service = Guarded(programs, workers)
        wire = connect(service.port, path="/news")
        wire.send("there?")
        assert wire.receive() == "there?"
        assert service.publisher("shop").publish("news", "hello") == Published(1, 0)
        assert wire.receive() == "hello"
        with pytest.raises(
            NotAcceptedError, match="403: the token grafana has no right to publish"
        ):
            service.publisher("grafana").publish("news", "hello")

    def test_they_are_read_again_and_a_wrong_file_changes_nothing(
        self, programs: Programs, workers: str
    ) -> None:
        service = Guarded(programs, workers)
        service.write({"grafana": "read,close", "anna": "all"})
        assert hang_up(service.program) == f"info {ANEW}changed: the tokens of --admin"
        assert service.ask("shop", "/publish/news", "POST") == 401
        assert service.ask("grafana", "/connections/7/close", "POST") == 404
        leak = secrets.token_hex(16)
        service.write({"anna": "all"}, extra=f"shop write {leak}")
        said = hang_up(service.program)
        assert said.startswith(
            f"error {NOT}--admin-token-file: tokens, line 4: there is an unknown right; give one"
        )
        assert leak not in service.program.log.text
        assert service.ask("grafana", "/metrics") == 200
        service.path.write_text("one-token-alone\n")
        assert hang_up(service.program) == f"info {ANEW}changed: the tokens of --admin"
        assert service.ask("anna", "/metrics") == 401
        assert service.ask("one-token-alone", "/connections/7/close", "POST") == 404

    def test_guesses_are_held_off_and_counted(self, programs: Programs, workers: str) -> None:
        service = Guarded(programs, workers)
        # A token that is out of date, sent again and again, is no guess.
        assert {service.ask("outdated-token", "/metrics") for _ in range(40)} == {401}
        assert service.ask("anna", "/metrics") == 200
        statuses: list[int] = []
        # Each 3 s allow one more, and a busy machine may take some.
        while 429 not in statuses:
            statuses.append(service.ask(secrets.token_hex(16), "/metrics"))
            assert len(statuses) < 200
        assert statuses[:19] == [401] * 19
        assert Asking(service.face).ask("/healthz").status == 200
        service.program.log.wait_for("refused a wrong token from 127.0.0.1")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_file_stops_the_start(programs: Programs, workers: str) -> None:
    path: Path = programs.folder / "tokens"
    secret = secrets.token_hex(16)
    path.write_text(f"anna all {secret}\nshop publish {secret}\n")
    path.chmod(0o600)
    program = programs.twistd(
        *("--port", "0", "--workers", workers),
        *("--admin", LOOPBACK, "--admin-token-file", "tokens"),
    )
    refused(program, "--admin-token-file: tokens, line 2: the token is that of line 1 already;")
    assert secret not in program.stderr.text + program.log.text
