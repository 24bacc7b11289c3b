"""The progress of a long job, in the page of the user who started it.

    twistd -n wsdemo --port 8080 --greeting "" --allow-origin http://localhost:8000 \\
        --admin tcp:8081:interface=127.0.0.1
    python job.py                         # in another terminal
    # then open http://localhost:8000/

This example uses Python's own web server to stay short; any other will do. The page listens
first, and asks for the job only then, so that it misses nothing.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wsservice.errors import PublishError
from wsservice.publisher import publish

PAGE = Path(__file__).with_name("job.html").read_bytes()
STEPS = 20
# The page makes up a name that nobody can guess (a UUID), and this is all that it can be.
JOB = re.compile(r"/jobs/([0-9a-f-]{36})")


def work(job: str) -> None:
    """The job, which takes its time, and tells how far it is."""
    for step in range(1, STEPS + 1):
        time.sleep(0.1)  # here it would do something
        try:
            publish(f"jobs/{job}", json.dumps({"done": step, "of": STEPS}))
        except PublishError as error:
            # A job goes on whether or not somebody can watch it.
            print(error, file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        # The path alone: what is behind ? is for the page.
        self.answer(200 if self.path.partition("?")[0] == "/" else 404, PAGE)

    def do_POST(self) -> None:
        job = JOB.fullmatch(self.path)
        if job is not None:
            threading.Thread(target=work, args=(job[1],), daemon=True).start()
        self.answer(202 if job else 404, b"")

    def answer(self, status: int, body: bytes) -> None:
        body = body if status < 400 else b"There is no such page.\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with ThreadingHTTPServer(("localhost", port), Handler) as server:
        print(f"http://localhost:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
