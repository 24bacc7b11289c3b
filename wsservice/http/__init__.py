"""Read the HTTP of an opening handshake strictly: request, target, host, refusal.

It may import `escape` and `errors`, and nothing of Twisted.

The modules::

    forwarded.py  the client's address, in the headers of trusted proxies
    grammar.py    the parts of patterns: tokens, values, hosts
    head.py       the head of an answer, written
    headers.py    the headers of a request, and the ones that a handshake needs
    hostname.py   a host's name, in the forms for DNS and certificates
    refusal.py    the reason for refusing a request, and the cure
    request.py    the opening handshake's request, read strictly
    target.py     hosts, and request targets
"""
