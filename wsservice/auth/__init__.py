"""Find the user of a connection by its credential, and decide what the user may do.

It may import `config`, `http` and what lies below them, and `net` to ask others.

The modules::

    __main__.py        python -m wsservice.auth: a new token
    certificate.py     --auth tls:FIELD, the user in a client's certificate
    contract.py        a user, a credential, and what finds the user of a credential
    credentials.py     the one credential in a request
    function.py        --auth MODULE:FUNCTION
    identification.py  the authenticators of a service, and whom they are asked about
    kinds.py           the kinds of authenticators that --auth names
    refusals.py        why a client is refused
    throttle.py        addresses that show bad credentials, slowed down
    tokens.py          --auth tokens:FILE
"""

from ..errors import CredentialError
from .contract import User

__all__ = ["CredentialError", "User"]
