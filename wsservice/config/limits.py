"""The limits that both server and client set for their peer. PURE."""

from __future__ import annotations

import attrs

from .close_codes import CloseCode
from .fields import (
    BYTES,
    NEW,
    OPEN,
    SECONDS,
    TO_CLOSE_CODE,
    TO_SECONDS,
    TO_SWITCH,
    setting,
    to_choice,
    to_size,
    to_whole,
)
from .units import KIB, MIB

LIMITS, TIMEOUTS = "Limits", "Timeouts"
"""The groups of these options in the help of the service."""

_FRAGMENTS = 1024
_BYTES_OF_A_FRAGMENT = 4 * KIB


def fragments_for(max_message_size: int) -> int:
    """Return how many fragments a message of up to a size in bytes may have; 0: any number.

    Some peers send fragments of 16 KiB each: the largest message must fit into what they send.
    """
    if not max_message_size:
        return 0
    return max(_FRAGMENTS, -(-max_message_size // _BYTES_OF_A_FRAGMENT))


@attrs.frozen(kw_only=True)
class Limits:
    """The limits for one connection, of a server or of a client. 0 switches a limit off."""

    max_message_size: int = setting(
        MIB,
        to_size(),
        BYTES,
        "largest message accepted; 0: no limit",
        group=LIMITS,
        more="A larger message closes the connection with 1009. A compressed message counts"
        " with its size before and after decompression.",
        reloads=OPEN,
    )
    handshake_timeout: float = setting(
        5.0,
        TO_SECONDS,
        SECONDS,
        "time for the opening handshake; 0: no limit",
        group=TIMEOUTS,
        more="The connection is dropped when the handshake takes longer.",
        reloads=NEW,
    )
    max_fragments: int = setting(
        attrs.Factory(lambda self: fragments_for(self.max_message_size), takes_self=True),
        to_whole(0),
        "COUNT",
        "most fragments of a message; 0: no limit",
        group=LIMITS,
        more="More fragments close the connection with 1008. The default grows with"
        " --max-message-size: one fragment for each 4 KiB, where that is more.",
        unit="fragments",
        common=False,
        reloads=OPEN,
    )
    message_timeout: float = setting(
        60.0,
        TO_SECONDS,
        SECONDS,
        "time for a message to arrive; 0: no limit",
        group=TIMEOUTS,
        more="The time runs from the first byte of a message to its last. A message that takes"
        " longer closes the connection with 1008.",
        reloads=OPEN,
    )
    send_buffer: int = setting(
        MIB,
        to_size(),
        BYTES,
        "unsent data per connection; 0: no limit",
        group=LIMITS,
        more="Unsent data piles up when the peer reads slowly. At this limit --slow-client"
        " takes effect.",
        reloads=OPEN,
    )
    slow_client: str = setting(
        "close",
        to_choice("close", "drop"),
        "close|drop",
        "action when --send-buffer is full",
        group=LIMITS,
        more="close closes the connection with --overload-code; drop drops the oldest messages.",
        reloads=OPEN,
    )
    overload_code: int = setting(
        int(CloseCode.TRY_AGAIN_LATER),
        TO_CLOSE_CODE,
        "CODE",
        "close code for a peer that reads slowly",
        group=LIMITS,
        more="It also closes a client whose message --inbox cannot take.",
        unit="close code",
        common=False,
        reloads=OPEN,
    )
    ping_interval: float = setting(
        20.0,
        TO_SECONDS,
        SECONDS,
        "idle time before a ping; 0: no pings",
        group=TIMEOUTS,
        more="A peer is pinged when nothing has passed on its connection for this time.",
        reloads=OPEN,
    )
    ping_timeout: float = setting(
        20.0,
        TO_SECONDS,
        SECONDS,
        "wait for the reply to a ping; 0: forever",
        group=TIMEOUTS,
        more="When nothing arrives in this time, the connection is closed with 1011.",
        reloads=OPEN,
    )
    compression: bool = setting(
        False,
        TO_SWITCH,
        "on|off",
        "compress messages (permessage-deflate)",
        group="Behaviour",
        more="Messages are compressed where the peer supports it. A connection takes about"
        " 30 kB more memory.",
        reloads=NEW,
    )
    close_timeout: float = setting(
        5.0,
        TO_SECONDS,
        SECONDS,
        "wait for the reply to a close; 0: forever",
        group=TIMEOUTS,
        more="After that the connection is dropped.",
        common=False,
        reloads=OPEN,
    )
