"""An issuer of tokens: a real web server with its JWK Set, which answers as it is told to."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..tokens import jwks

Answer = Callable[["Issuer", Any], None]


def ready(issuer: Issuer, request: Any) -> None:
    """Answer with the keys."""
    request.send_response(200)
    request.send_header("Cache-Control", issuer.cache_control)
    request.send_header("Content-Length", str(len(issuer.body)))
    request.end_headers()
    request.wfile.write(issuer.body)


def failing(issuer: Issuer, request: Any) -> None:
    """Answer with 500."""
    request.send_error(500)


def elsewhere(issuer: Issuer, request: Any) -> None:
    """Send whoever asks to another path, where the keys are."""
    if request.path != "/other":
        request.send_response(302)
        request.send_header("Location", f"{issuer.place}/other")
        request.end_headers()
    else:
        ready(issuer, request)


def slow(issuer: Issuer, request: Any) -> None:
    """Send an octet now and then, and never the last one."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not issuer.ended:
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.1)


def huge(issuer: Issuer, request: Any) -> None:
    """Send more than anybody wants."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n{")
    while not issuer.ended:
        request.wfile.write(b" " * 65536)


def half(issuer: Issuer, request: Any) -> None:
    """Break off in the middle, as where the file is written while it is read."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(issuer.body)))
    request.end_headers()
    request.wfile.write(issuer.body[: len(issuer.body) // 2])
    request.close_connection = True


def without_keys(issuer: Issuer, request: Any) -> None:
    """Answer with a set of no keys."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b'{"keys": []}')


class Issuer:
    """The server. `keys` are those of its set; `answer` is one of the functions above."""

    def __init__(self, *keys: Any, context: ssl.SSLContext | None = None) -> None:
        self.answer: Answer = ready
        self.cache_control = "max-age=3600"
        self.asked = 0
        self.ended = False
        self.publish(*keys)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.answer(issuer, self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """It is the other end that ends, at times."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.place = f"http{'' if context is None else 's'}://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the set."""
        return f"{self.place}/.well-known/jwks.json"

    def publish(self, *keys: Any) -> None:
        """Have these keys in the set from now on."""
        self.body = jwks(*keys)

    def end(self) -> None:
        """End the server: nobody can connect any more."""
        if not self.ended:
            self.ended = True
            self._server.shutdown()
            self._server.server_close()
