"""Speak with servers of Redis: address, connection, sentinels, subscriptions, scripts.

It may import what `broker` may, but not `broker`.

The modules::

    address.py        a URL: the place of a server, and the login there
    claims.py         a check of the counts in answers, before they are parsed
    connect.py        the way to a server: TCP, TLS, unix sockets, sentinels
    connection.py     one connection: commands and answers, in their order
    identity.py       the identity of a server, as it tells it
    link.py           one server, kept connected
    scripting.py      scripts, which a server keeps by their digests
    subscriptions.py  subscriptions, kept over connections
"""
