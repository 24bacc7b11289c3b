"""Serve operators by HTTP, on a listener of its own: health, metrics, connections, publishing.

It may import `cluster`, `webhook`, `broker`, `server` and what lies below them.

The modules::

    access.py      access to the face: token, Host, Origin
    actions.py     requests, logged and counted by the name of their token
    answers.py     the answer to a request for one connection, from its outcome
    exchange.py    a request and its answer, as values
    face.py        Admin: put together, started, stopped
    figures.py     the service in figures, for Prometheus
    guesses.py     wrong tokens, counted and bounded for each address
    publishing.py  publishing on an operator's request
    queries.py     requests' queries and bodies, parsed
    routes.py      the answer to each request
    ticketing.py   tickets, made on request
    tokens.py      the tokens of --admin-token-file, and their rights
    users.py       users: their ids in paths, and answers about them
    web.py         HTTP, by twisted.web, with bounds
"""

from .face import Admin, Face, check

__all__ = ["Admin", "Face", "check"]
