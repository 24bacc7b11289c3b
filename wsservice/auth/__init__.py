"""Find the user of a connection by its credential, and decide what the user may do.

It may import `config`, `http` and what lies below them, and `net` and `client.web` to ask others.

The modules::

    __main__.py        python -m wsservice.auth: a new token
    action.py          what a user may do on a channel
    cache.py           credentials that were good, remembered for a while
    certificate.py     --auth tls:FIELD, the user in a client's certificate
    claims.py          what a user's claims say about channels
    contract.py        a user, a credential, and what finds the user of a credential
    credentials.py     the one credential in a request
    function.py        --auth MODULE:FUNCTION
    htpasswd.py        --auth htpasswd:FILE
    identification.py  the authenticators of a service, and whom they are asked about
    jwt/               the users that JSON Web Tokens name: --auth jwt:FILE and jwt:URL
    kinds.py           the kinds of authenticators that --auth names
    permissions.py     what a connection may do, for its behaviour
    refusals.py        why a client is refused
    rules.py           judge a user by rules and claims
    strictjson.py      JSON of others, read so that it has one meaning
    throttle.py        addresses that show bad credentials, slowed down
    tickets.py         tickets: made, kept, and claimed once
    tokens.py          --auth tokens:FILE
    urls.py            the URLs that --auth names
    webhook.py         --auth webhook:URL
"""

from ..errors import CredentialError
from .contract import User

__all__ = ["CredentialError", "User"]
