"""Know the web around a connection: URLs, cookies, credentials, proxies, and single requests.

It may import what `client` may.

The modules::

    answer.py       the answer to an opening handshake
    asking.py       one HTTP request, and its answer, bounded
    cookiefile.py   the file that keeps cookies
    cookies.py      cookies: sending and keeping them (RFC 6265bis)
    credentials.py  names, passwords, tokens, and places where they may not be seen
    handshake.py    the request that a client opens with
    negotiation.py  the dialogue with a proxy
    proxies.py      proxies: their URLs, and the choice of one
    redirects.py    the target of a redirect, and the headers that it may have
    signing.py      the signature of a POST, by which a receiver verifies its sender
    tunnel.py       a connection through a proxy
    urls.py         a URL, taken apart
"""
