"""Tell a web server about connects, messages and disconnects, by signed POST.

It may import `server`, `client` and what lies below them.

The modules::

    events.py   events, as JSON
    figures.py  figures of the webhook, for Prometheus
    posting.py  one POST, and its outcome
    queue.py    events that wait, in batches, bounded
    sender.py   batches, one after another, until they are taken
    telling.py  a behaviour that tells the webhook too
"""

from .sender import Webhook, check, open_webhook
from .telling import telling

__all__ = ["Webhook", "check", "open_webhook", "telling"]
