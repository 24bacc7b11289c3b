"""Serve one connection: its opening handshake, plain HTTP, pages and behaviours.

It may import `channels`, `protocol` and what lies below them.

The modules::

    admission.py      how many may connect, and the refusals of the others
    attributes.py     the attributes that each connection begins with, made once
    behaviours.py     ServerProtocol, the greeting and echo behaviours, ServerFactory
    expiry.py         the end of a user's credential
    first_message.py  the token as a client's first message
    handshake.py      the request of one handshake, and the answer that refuses it
    identity.py       the step of the handshake that finds the user, and renewal
    opening.py        the opening handshake, the server's side
    page/             the pages for people
    peers.py          the client's address, also behind proxies that are trusted
    plain.py          answers to plain HTTP
    remembered.py     the part of its request that a connection keeps
    secrets.py        the secrets of a request
    switching.py      the answer that accepts a handshake
"""
