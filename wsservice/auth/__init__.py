"""Find the user of a connection by its credential, and decide what the user may do.

It may import `config`, `http` and what lies below them, and `net` to ask others.

The modules::

    contract.py   a user, a credential, and what finds the user of a credential
    tickets.py    tickets: made, kept, and claimed once
"""
