"""Put one process together from its parts, start it, reload it and drain it.

It may import every package but `run`, `workers` and `cli`.

The modules::

    behaviour.py  the class that --protocol names
    drain.py      the drain of a service
    parts.py      the parts of a service, and the calls that each of them needs
    reloading.py  settings, read again while the service runs: all applied, or none
    service.py    the service of one process: start, drain
"""
