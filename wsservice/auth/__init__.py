"""Find the user of a connection by its credential, and decide what the user may do.

It may import `config`, `http` and what lies below them, and `net` to ask others.

The modules::

    action.py       what a user may do on a channel
    claims.py       what a user's claims say about channels
    contract.py     a user, a credential, and what finds the user of a credential
    permissions.py  what a connection may do, for its behaviour
    rules.py        judge a user by rules and claims
"""
