"""The admin face: plain HTTP for who runs the service, on a listener of its own.

The map. Imports run one way, downwards in this list::

    exchange.py   a request, and what is answered, as values
    ids.py        what a connection is called
    access.py     who may ask: token, Host, Origin
    figures.py    the service in figures, for Prometheus
    listing.py    the list of connections, and closing one
    presence.py   which channels there are, and who is on one
    publishing.py what a request to publish says, and publishing it
    broker.py     servers of Redis: publishing by them, and their figures
    inbox.py      the figures of the inbox
    webhook.py    the figures of the webhook
    history.py    the figures of the history
    octets.py     frames, out of the octets that pass
    tracing.py    one connection's frames as they happen
    people.py     connections listed, closed and traced, by id
    lag.py        how late the reactor is
    routes.py     which answer a request gets
    web.py        HTTP, by twisted.web, with bounds
    face.py       Admin: put together, started, stopped

Whatever a peer of the service said leaves here within JSON, in ASCII.
"""

from .face import Admin, Check, Face, check

__all__ = ["Admin", "Check", "Face", "check"]
