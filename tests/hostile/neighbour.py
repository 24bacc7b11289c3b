"""`python -m tests.hostile.neighbour PORT`: a client that behaves well, in a process of its own.

Says a word every 5 ms until its standard input ends, then how long the answers took.
"""

from __future__ import annotations

import json
import select
import statistics
import sys
import time

from ..integration.wire import Wire
from .channels import NEIGHBOUR

INTERVAL = 0.005


def main() -> None:
    """Round trips, until told to stop."""
    wire = Wire(int(sys.argv[1]), path=f"/{NEIGHBOUR}").upgrade()
    took = []
    said = False
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        began = time.perf_counter()
        wire.send("a word")
        assert wire.receive() == "a word"
        took.append(time.perf_counter() - began)
        if not said and len(took) >= 20:
            said = True
            took.clear()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
    sys.stdout.write(
        json.dumps({"trips": len(took), "median": statistics.median(took), "worst": max(took)})
    )
    wire.end()


if __name__ == "__main__":
    main()
