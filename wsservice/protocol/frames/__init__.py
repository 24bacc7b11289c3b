"""Decode octets into messages, and encode messages: the codec. No I/O. PURE.

The codec is the fast way for nearly all traffic: whole, final, uncompressed data frames. It
distinguishes three cases: a frame of its own that is whole, one that is not whole yet, and any
other frame. Autobahn's state machine gets every other frame unchanged, so the codec decides
no error of the protocol but one: a text that is no UTF-8, in a large frame that comes in parts.

Two codecs have one contract: `_python.py`, the reference, and `_native.c`, which is used if it was
built. In the environment `WSSERVICE_NATIVE=0` chooses the one in Python. With `WSSERVICE_NATIVE=1`
the import fails without the native one. `CODEC` is `native` or `python`.

See docs/decisions/codec.md.
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
            # It was not built, since there was no compiler, or built for another Python.
            if wanted == "1":
                raise ImportError(
                    f"WSSERVICE_NATIVE=1, but the native codec is missing: {error}"
                ) from error
    return "python", importlib.import_module("._python", __name__)


CODEC, _codec = _chosen()
"""The codec in use: `native` or `python`."""

if TYPE_CHECKING:
    from ._python import FOREIGN, PARTIAL, STOPPED, PartialFrame, decode, encode, frame_size
else:
    FOREIGN, PARTIAL, STOPPED = _codec.FOREIGN, _codec.PARTIAL, _codec.STOPPED
    PartialFrame = _codec.PartialFrame
    decode, encode, frame_size = _codec.decode, _codec.encode, _codec.frame_size
