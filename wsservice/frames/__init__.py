"""Octets to messages and back: the codec. No I/O. PURE.

The codec is the fast way for what nearly all traffic is, whole, final,
uncompressed data frames. It tells three things apart: a frame that is whole and
its own, one that is not whole yet, and one that is not its own. The last goes to
Autobahn's state machine as it came, which does all the rest.
"""

from ._python import FOREIGN, PARTIAL, STOPPED, PartialFrame, decode, encode, frame_size

__all__ = ["FOREIGN", "PARTIAL", "STOPPED", "PartialFrame", "decode", "encode", "frame_size"]
