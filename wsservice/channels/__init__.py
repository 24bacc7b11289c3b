"""Publish and subscribe: the hub, history, envelopes, and resuming after a reconnect.

It may import `protocol` and what lies below it.

The modules::

    contract.py   the contract that every hub of the project meets
    envelopes.py  the subprotocol wsservice.v1
    figures.py    figures of the history, for Prometheus
    following.py  the hub of a process whose history is kept elsewhere
    gate.py       past messages wait while there is no memory for them
    history.py    the last messages of each channel
    hub.py        the hub of one process
    keeping.py    what the history keeps of each channel
    message.py    a message on a channel, from the door to the socket
    outcome.py    the outcome of publishing, from a hub to an HTTP client
    page.py       a part of a channel's history, for behaviours and operators
    presence.py   the people on a channel of the whole service: their number, and a list of them
    query.py      the channels that a request names, and the position in each
    question.py   a question to a history that is kept elsewhere, and those who wait for its answer
    resuming.py   wsservice.v1 on a server's connection: first the missed messages
    users.py      the users of connections: an index, messages to them, their number
"""
