"""An admin face that shows what a test wants: what the real one does only when all goes wrong."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wsservice.server import page

LATE = 0.05
"""Seconds that an answer may take, by chance: the page hears what it asks at once in any order."""


class Operator:
    """The state of it: a test changes what it likes."""

    def __init__(self, count: int = 3) -> None:
        self.reasons: list[str] = []
        self.connections = [connection(each) for each in range(1, count + 1)]
        #: Where there are other nodes, what /cluster says.
        self.cluster: dict[str, Any] | None = None
        #: The workers that do not answer.
        self.silent: list[str] = []
        #: The name of the token, None for none, and its rights.
        self.token: str | None = None
        self.rights = ["read", "publish", "close", "tickets"]
        self.trace: list[dict[str, Any]] = []
        self.flood = False
        self.asked: list[str] = []
        self.failing = 0
        self.gone = False
        self._began = time.monotonic()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def end(self) -> None:
        self.flood = False
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def metrics(self) -> str:
        """Traffic that grows, so that there are rates."""
        seconds = time.monotonic() - self._began
        wave = 1 + 0.3 * math.sin(seconds / 9)
        grown = seconds - 2.7 * math.cos(seconds / 9)  # its integral
        handshakes = 40 * seconds
        lines = [
            "# HELP wsservice_connections Connections.",
            "# TYPE wsservice_connections gauge",
            f"wsservice_connections {len(self.connections)}",
            f'wsservice_messages_total{{direction="received"}} {1200 * grown}',
            f'wsservice_messages_total{{direction="sent"}} {5400 * grown}',
            f'wsservice_octets_total{{direction="received"}} {90_000 * grown}',
            f'wsservice_octets_total{{direction="sent"}} {4.2e6 * grown}',
            f'wsservice_refusals_total{{reason="a \\"quoted\\\\ }} one"}} {0.4 * seconds}',
            f'wsservice_refusals_total{{reason="no room"}} {0.1 * seconds}',
            f'wsservice_slow_clients_total{{policy="close"}} {0.02 * seconds}',
            "wsservice_log_lines_dropped_total 0",
            f"wsservice_send_queue_octets {230_000 * wave}",
        ]
        for name, most in (("handshake", 0.01), ("publish", 0.0025), ("reactor_lag", 0.025)):
            for bound in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1):
                count = handshakes * min(1.0, bound / most)
                lines.append(f'wsservice_{name}_seconds_bucket{{le="{bound}"}} {count}')
            lines.append(f'wsservice_{name}_seconds_bucket{{le="+Inf"}} {handshakes}')
        return "\n".join(lines) + "\n"

    def listed(self, limit: int, after: str, user: str = "") -> dict[str, Any]:
        """A page of connections, or of those of one user."""
        everybody = [each for each in self.connections if not user or each.get("user") == user]
        ids = [each["id"] for each in everybody]
        rest = everybody[ids.index(after) + 1 if after in ids else 0 :]
        shown = rest[:limit]
        more = shown[-1]["id"] if len(rest) > limit else None
        said = {"total": len(everybody), "connections": shown, "next": more}
        if self.cluster is None:
            return {**said, "missing": self.silent} if self.silent else said
        missing = [*self.cluster["missing"], *self.silent]
        return {**said, "missing": missing, "problem": self.cluster["problem"]}

    def events(self) -> Iterator[tuple[str, Any]]:
        """Yield the events of a trace."""
        yield from (("frame", each) for each in self.trace)
        count = 0
        while self.flood:
            for _ in range(200):
                count += 1
                yield "frame", frame(f"frame {count}", sent=count % 2 == 0)
            time.sleep(0.02)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        operator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def say(self, status: int, said: Any) -> None:
                self.answer(status, json.dumps(said).encode(), ("Content-Type", "application/json"))

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                operator.asked.append(self.path)
                time.sleep(random.uniform(0, LATE))
                if operator.gone:
                    self.close_connection = True
                elif url.path == "/":
                    served = page.load(page.ADMIN)
                    self.answer(200, served.body, *served.headers)
                elif operator.failing:
                    self.say(operator.failing, {"error": "broken \u202e <b>"})
                elif url.path == "/readyz":
                    reasons = operator.reasons
                    self.say(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})
                elif url.path == "/token":
                    self.say(200, {"name": operator.token, "rights": operator.rights})
                elif url.path == "/metrics":
                    self.answer(200, operator.metrics().encode())
                elif url.path == "/connections":
                    query = parse_qs(url.query)
                    limit, after = query["limit"][0], query.get("after", [""])[0]
                    user = query.get("user", [""])[0]
                    self.say(200, operator.listed(int(limit), after, user))
                elif url.path == "/cluster" and operator.cluster is not None:
                    self.say(200, operator.cluster)
                elif url.path.endswith("/trace") and "." in url.path:
                    self.say(421, {"error": "it is traced by its own node alone"})
                elif url.path.endswith("/trace"):
                    self.stream()
                else:
                    self.say(404, {"error": "there is no such path"})

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for name, data in operator.events():
                        said = f": still here\n\nevent: {name}\ndata: {json.dumps(data)}\n\n"
                        self.wfile.write(said.encode())
                except OSError:
                    return  # the page has heard enough
                finally:
                    self.close_connection = True

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                id_ = unquote(self.path.split("/")[2])
                if id_ not in [each["id"] for each in operator.connections]:
                    self.say(404, {"error": f"there is no connection {id_}"})
                    return
                operator.connections = [each for each in operator.connections if each["id"] != id_]
                self.say(202, {"closing": id_})

        return Handler


def connection(number: int, **more: Any) -> dict[str, Any]:
    """A connection as the list has it."""
    return {
        "id": str(number),
        "peer": f"192.0.2.{number % 250}:{40000 + number % 20000}",
        "channel": ("chat/general", "news", "", "prices/eur-usd")[number % 4],
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 37 * number)),
        "messages": {"received": 17 * number, "sent": 1234 * number},
        "octets": {"received": 1700 * number, "sent": 123_400 * number},
        "queue": 0 if number % 3 else 65_536,
        "rtt": None if number % 5 == 0 else 0.0123 * (number % 5),
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        **more,
    }


def node(name: str, **more: Any) -> dict[str, Any]:
    """A node as /cluster has it."""
    return {
        "node": name,
        "up": True,
        "seen": 1.234,
        "rtt": 0.0021,
        "host": f"{name}.example",
        "pid": 4711,
        "version": "0.1.0",
        "python": "3.11.2",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7300)),
        "workers": 2,
        "connections": 1234,
        "lag": 0.0123,
        "reasons": [],
        "brokers": [
            {
                "name": "redis://broker.example:6379",
                "up": True,
                "version": "Redis 7.0.15",
                "problem": None,
            }
        ],
        **more,
    }


def unread(name: str) -> dict[str, Any]:
    """A node that does not answer, and of which nothing is known."""
    return {**dict.fromkeys(node(name)), "node": name, "up": False, "seen": 7.0}


def cluster(*nodes: dict[str, Any], problem: str | None = None) -> dict[str, Any]:
    """Return an answer of /cluster, given by the first node."""
    return {
        "node": nodes[0]["node"],
        "connections": 0,
        "nodes": list(nodes),
        "missing": [each["node"] for each in nodes if not each["up"]],
        "problem": problem,
    }


def frame(payload: str, sent: bool = False, **more: Any) -> dict[str, Any]:
    """A frame as a trace has it."""
    return {
        "time": "2026-11-24T04:05:06.789Z",
        "direction": "sent" if sent else "received",
        "opcode": 1,
        "fin": True,
        "size": len(payload.encode()),
        "payload": payload,
        "cut": False,
        **more,
    }
