"""The client: `connect`, and the program `python -m wsservice.client`.

The map. Imports run one way, downwards in this list::

    urls.py         a URL, taken apart
    answer.py       what the opening handshake is answered
    credentials.py  names, passwords, tokens, and where they may not be seen
    cookies.py      cookies, and the file that they are kept in
    proxies.py      proxies: their URLs, and which one to take
    options.py      ClientConfig: the settings of a connection
    redirects.py    where a redirect leads, and what may be told there
    handshake.py    the request that a client opens with
    trace.py        what is said before a connection is open, for -v
    security.py     TLS: whom to trust, who one is, what went wrong
    backoff.py      when to try again                                         PURE
    opening.py      the opening handshake: asks, and hears what is said
    ended.py        why a connection is over
    pinging.py      how long a round trip takes
    protocol.py     ClientProtocol, and the factory that makes one
    addresses.py    from a name to addresses
    negotiation.py  what is said to a proxy
    tunnel.py       a connection through a proxy
    endpoints.py    the way to a server, one endpoint through the other
    inbox.py        what came, until it is asked for
    gate.py         who wants to send waits for room
    stream.py       ClientConnection: `async for message in connection`
    connecting.py   connect(): from a URL to an open connection
    outbox.py       what is to be sent, kept while there is no connection
    arrivals.py     which messages have arrived
    resuming.py     what was missed meanwhile: wsservice.v1
    staying.py      one connection after another
    service.py      ReconnectingClient: stays connected, as a Twisted service
    status.py       the program's exit statuses
    reaching.py     its command line's part on connecting
    printing.py     how a message is printed                                  PURE
    talking.py      its command line's part on what is sent and printed
    completion.py   completion of its options in a shell
    command.py      its command line
    goal.py         what is waited for: so many messages, a match, a close    PURE
    outcome.py      what an end means: an exit status, and words
    talk.py         the program's connection: patient with what still comes
    outgoing.py     what is to be sent, no faster than it is taken, over one or many
    session.py      one run of it: connect, talk, end with a status
    terminal.py     standard input and output
    script.py       its face to scripts: lines in, payloads out
    typed.py        what is typed at the prompt: a message, or a /command       PURE
    pretty.py       JSON, indented                                           PURE
    stats.py        what went over a connection, counted                      PURE
    display.py      the lines that a person sees                             PURE
    history.py      what was typed, kept in a file
    attachment.py   a file that is to be sent
    completer.py    what Tab makes of what is typed
    console.py      a terminal with a person at it
    prompt.py       its face to a person
    tutorial.py     its part in the tutorial
    faces.py        which face it has
    __main__.py     the program
"""

from .connecting import connect
from .options import ClientConfig
from .protocol import ClientProtocol
from .service import ReconnectingClient
from .stream import ClientConnection

__all__ = ["ClientConfig", "ClientConnection", "ClientProtocol", "ReconnectingClient", "connect"]
