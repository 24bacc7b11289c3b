"""The prompt of `wsclient`, for a person at a terminal.

It may import `cli` and what `cli` may.

The modules::

    attachment.py  a file to send
    completer.py   completion by Tab
    console.py     a terminal with a person at it
    display.py     the lines that a person sees
    history.py     earlier lines, kept in a file
    pretty.py      JSON, indented
    prompt.py      the face to a person
    stats.py       counts of one connection's messages
    typed.py       a typed line: a message, or a /command
"""
