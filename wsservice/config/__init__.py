"""Hold the settings: their defaults, limits, units and sources, and the web pages that may connect.

It may import `http`, `escape` and `errors`.

The modules::

    close_codes.py   CloseCode: the codes that are sent; those that may be sent, or may come
    config.py        Config: all settings, frozen and validated
    fields.py        settings: their converters, units and texts
    files.py         the files that settings name
    helptext.py      the help of twistd wsdemo
    identity.py      the settings of identity
    integrations.py  the settings of operators, a web server and Redis
    limits.py        Limits: limits and timeouts of a connection, with their defaults
    named.py         the classes and functions that settings name
    origins.py       the web pages that may connect, by their origin
    secretfile.py    a secret in a file of its own
    sources.py       file, environment and command line, merged to a Config
    units.py         sizes and times as people write them
"""
