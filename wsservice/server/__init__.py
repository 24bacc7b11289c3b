"""Serve one connection: its opening handshake, plain HTTP, pages and behaviours.

It may import `auth`, `channels`, `protocol` and what lies below them.

The modules::

    admission.py      how many may connect, and the refusals of the others
    attributes.py     the attributes that each connection begins with, made once
    behaviours.py     ServerProtocol, the greeting and echo behaviours, ServerFactory
    expiry.py         the end of a user's credential
    first_message.py  the token as a client's first message
    handshake.py      the request of one handshake, and the answer that refuses it
    identity.py       the step of the handshake that finds the user, and renewal
    latest.py         how many past messages a client gets first
    opening.py        the opening handshake, the server's side
    options.py        Autobahn's options for a server
    page/             the pages for people
    peers.py          the client's address, also behind proxies that are trusted
    permitted.py      what a connection may do on channels
    plain.py          answers to plain HTTP
    rates/            how fast clients connect and send
    remembered.py     the part of its request that a connection keeps
    seats.py          how many connections one user may have
    secrets.py        the secrets of a request
    switching.py      the answer that accepts a handshake
    user.py           the user of a connection, named in logs and seated
"""
