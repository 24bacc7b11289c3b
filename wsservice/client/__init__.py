"""Connect to a server: `connect`, and `ReconnectingClient`, which stays connected.

It may import `channels`, `protocol` and what lies below them, and nothing of a server; `__main__`
forwards to `cli`.

The modules::

    __main__.py    `python -m wsservice.client`: the program, which lives in `wsservice.cli`
    addresses.py   from a name to addresses
    arrivals.py    the messages that have arrived at the server
    connecting.py  connect(): from a URL to an open connection
    ended.py       the reason of a connection's end
    endpoints.py   the way to a server, one endpoint through the other
    gate.py        senders that wait for room
    inbox.py       received messages that nobody has asked for yet
    opening.py     the opening handshake, the client's side
    options.py     ClientConfig: the settings of a connection
    outbox.py      messages to send, kept while there is no connection
    pinging.py     the time of a round trip
    protocol.py    ClientProtocol, and the factory that makes one
    resuming.py    missed messages, by wsservice.v1
    security.py    TLS: authorities, certificates of one's own, errors in words
    service.py     ReconnectingClient: stays connected, as a Twisted service
    staying.py     one connection after another
    stream.py      ClientConnection: `async for message in connection`
    trace.py       the way to an open connection, told for -v
    web/           the web around a connection: URLs, cookies, credentials, proxies
"""

from .connecting import connect
from .options import ClientConfig
from .protocol import ClientProtocol
from .service import ReconnectingClient
from .stream import ClientConnection

__all__ = ["ClientConfig", "ClientConnection", "ClientProtocol", "ReconnectingClient", "connect"]
