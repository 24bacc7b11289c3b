"""Telling a web server what happens: who connects, what is said, who leaves.

The map. Imports run one way, downwards in this list::

    signing.py   the signature, by which a receiver knows who tells        PURE
    events.py    what happened, as JSON                                    PURE
    queue.py     events that wait, in batches, and bounded                 PURE
    posting.py   one POST, and what became of it
    sender.py    batches, one after another, until they are taken
    telling.py   a behaviour that tells too

Whatever the receiver does, the service only waits for it at its end, and then no
longer than it has time.
"""

from .sender import Webhook, check, open_webhook
from .telling import telling

__all__ = ["Webhook", "check", "open_webhook", "telling"]
