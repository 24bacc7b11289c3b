"""`python -m tests.hostile.neighbour PORT PID...`: a client that behaves well.

Says a word every 5 ms until its standard input ends, then how much CPU time passed before each
answer in the processes that serve: in the one that took most.
"""

from __future__ import annotations

import json
import select
import statistics
import sys

from ..integration.wire import Wire
from .channels import NEIGHBOUR
from .processes import Stopwatch

INTERVAL = 0.005


def main() -> None:
    """Round trips, until told to stop."""
    wire = Wire(int(sys.argv[1]), path=f"/{NEIGHBOUR}").upgrade()
    watch = Stopwatch([int(each) for each in sys.argv[2:]])
    took: list[float] = []
    said = False
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        watch.start()
        wire.send("a word")
        assert wire.receive() == "a word"
        took.append(watch.seconds())
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
