"""The program `wsclient`, for people and for scripts.

It may import `client` and what lies below it.

The modules::

    __main__.py    the program
    command.py     the command line
    completion.py  completion of options in a shell
    faces.py       the choice between prompt and script
    goal.py        the goal of a run: a number of messages, a match, a close
    largest.py     the largest message to send
    lookups.py     names, looked up in threads that the program's end does not wait for
    outcome.py     the meaning of an end: an exit status, and words
    outgoing.py    messages to send, no faster than the server takes them
    printing.py    a message, printed
    prompt/        the prompt of `wsclient`, for a person at a terminal
    reaching.py    options for connecting
    script.py      the face to scripts: lines in, payloads out
    session.py     one run of it: connect, talk, end with a status
    status.py      exit statuses
    talk.py        the program's connection: patient with what still comes
    talking.py     options for sending and printing
    terminal.py    standard input and output
    tutorial.py    the face in the tutorial
"""
