"""Plain HTTP on the port where WebSocket is spoken: what an ordinary client gets."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPResponse

import pytest

from .conftest import Connect
from .processes import PATIENCE, Programs


def ask(port: int, method: str, path: str = "/", **more: object) -> tuple[HTTPResponse, bytes]:
    """The answer to one request, and its body. `more` is as for `HTTPConnection.request`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, **more)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_every_method_gets_one_answer_that_tells_nothing(
    programs: Programs, connect: Connect
) -> None:
    port = programs.twistd("--port", "0").port
    for method, status, said in [
        ("GET", 426, b"this port speaks WebSocket; connect with ws://, or with wss:// over TLS\n"),
        ("HEAD", 426, b""),
        ("OPTIONS", 405, b"the method is not allowed; use GET\n"),
        ("DELETE", 405, b"the method is not allowed; use GET\n"),
        ("BREW", 501, b"the method is unknown; use GET, in capital letters\n"),
    ]:
        response, body = ask(port, method, "//evil.example/")
        assert (response.status, body) == (status, said), method
        assert "close" in (response.getheader("Connection") or "")
        assert "Upgrade" in response.headers or status != 426
        assert response.getheader("Allow") == ("GET, HEAD" if status == 405 else None)
        assert not {"Server", "Location", "Date"} & set(response.headers)
    assert connect(port).receive() == "Hello from server"


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("GET", 400)])
def test_a_body_is_refused_and_the_answer_arrives(
    programs: Programs, method: str, status: int
) -> None:
    port = programs.twistd("--port", "0").port
    assert ask(port, method, body=b"x" * 50_000)[0].status == status
