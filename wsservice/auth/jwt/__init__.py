"""Find the users that JSON Web Tokens name (RFC 7519). The extra `auth` is needed.

It may import what `auth` may.

The modules::

    authenticator.py   --auth jwt:FILE and jwt:URL
    claims.py          one token: its signature and its claims
    jwks.py            the keys of an issuer, fetched again as they age
    keyfile.py         the keys in a file
    keys.py            keys of every kind, and the algorithms that go with them
"""
