"""Write the message log and Twisted's log, as text or as JSON.

It may import `config` and what lies below it.

The modules::

    destination.py  a file or standard output, for lines
    journal.py      the message log
    jsonlog.py      Twisted's log as lines of JSON
    lines.py        a line of the message log: text, or JSON
    peer.py         a logger that escapes text of peers
    threshold.py    the level of Twisted's log
    twistedlog.py   Twisted's log, for lines: its file in batches
"""
