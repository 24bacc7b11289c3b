"""Octets to messages and back: the codec. No I/O. PURE.

The codec is the fast way for what nearly all traffic is, whole, final,
uncompressed data frames. It tells three things apart: a frame that is whole and
its own, one that is not whole yet, and one that is not its own. The last goes to
Autobahn's state machine as it came, which does all the rest.

There are two with one contract, `_python.py` and `_native.c`, and this is the one
place where one is chosen: the native one, where it was built. In the environment
`WSSERVICE_NATIVE=0` chooses the other; with `WSSERVICE_NATIVE=1` the import fails
without it. `CODEC` says which it is.
"""

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = [
    "CODEC",
    "FOREIGN",
    "PARTIAL",
    "STOPPED",
    "PartialFrame",
    "decode",
    "encode",
    "frame_size",
]


def _chosen() -> tuple[str, ModuleType]:
    wanted = os.environ.get("WSSERVICE_NATIVE", "")
    if wanted != "0":
        try:
            return "native", importlib.import_module("._native", __name__)
        except ImportError as error:
            # Not built, as where there was no compiler, or not for this Python.
            if wanted == "1":
                raise ImportError(f"WSSERVICE_NATIVE=1, but there is none: {error}") from error
    return "python", importlib.import_module("._python", __name__)


CODEC, _codec = _chosen()
"""Which codec it is, `native` or `python`."""

if TYPE_CHECKING:
    from ._python import FOREIGN, PARTIAL, STOPPED, PartialFrame, decode, encode, frame_size
else:
    FOREIGN, PARTIAL, STOPPED = _codec.FOREIGN, _codec.PARTIAL, _codec.STOPPED
    PartialFrame = _codec.PartialFrame
    decode, encode, frame_size = _codec.decode, _codec.encode, _codec.frame_size
