"""A behaviour that knows how many connections its process still holds in memory."""

from __future__ import annotations

import gc
import threading
from typing import Any
from weakref import WeakSet

from .behaviours import Watched


class Counted(Watched):
    """Echoes."""

    alive: WeakSet[Counted] = WeakSet()

    def connectionMade(self) -> None:
        Counted.alive.add(self)
        super().connectionMade()

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        if self.channel == "attack":
            self.sendMessage(payload, isBinary)
            return None
        return super().onMessage(payload, isBinary)

    def figures(self, asked: bytes) -> dict[str, Any]:
        """How many are alive, too, without the collector's help from the first question on."""
        gc.disable()
        if asked == b"collect":
            # In a thread, since it is no turn of the reactor that is measured.
            collecting = threading.Thread(target=gc.collect)
            collecting.start()
            collecting.join()
        return {**super().figures(asked), "alive": len(self.alive)}
