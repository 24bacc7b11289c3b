"""Limit how fast clients connect and send.

It may import `protocol`, and what that may import.

The modules::

    account.py    Account: the tokens of a party; SharedAccount: those of several connections
    allowance.py  Allowance: the accounts of one connection, and its waiting
    bucket.py     TokenBucket
    connects.py   ConnectRate: how fast addresses or users connect
    limited.py    Limited: counts and logs the limits that took effect
    meter.py      Meter: lets a reader take what the limits allow
    rates.py      Rates: all of these for a service's connections
    table.py      Buckets: a bounded number of buckets, by address or user
"""
