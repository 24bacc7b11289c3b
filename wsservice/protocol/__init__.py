"""Run one WebSocket connection, of a server or a client: reading, sending, closing, keepalive.

It may import `net` and what lies below it.

The modules::

    budget.py       the memory of all unfinished messages and send queues
    callbacks.py    a behaviour's callbacks, one after another
    common.py       the limits and clocks that the connections of a factory share
    close_frame.py  a close frame that came whole, read without Autobahn
    closing.py      close frames, sent and answered (the codes: `config.close_codes`)
    compat.py       workarounds for Autobahn on newer versions of Python
    compressed.py   a compressed message that came whole, inflated at one go
    compression.py  permessage-deflate
    connection.py   Autobahn's protocol made safe, for server and client: what a behaviour may do
    events.py       what Twisted and Autobahn tell a connection, handed to its parts, which end
                    it through `fail_connection`
    fragments.py    a message that Autobahn reads: its size, and `--max-fragments`
    framing.py      messages into frames: compressed, in fragments, masked
    frames/         the codec, in C and in Python
    keepalive.py    pings, and the end of a peer that does not answer
    lingering.py    a connection's end, delayed until the peer can read the last words
    options.py      options and parts that all connections of a factory share
    owner.py        the names by which its parts call a connection; why it is not read
    reading.py      from octets to onMessage: codec or Autobahn, in slices
    sending.py      the queue of a connection's frames, and its bound
    slowness.py     what follows when the peer reads slowly
    unfinished.py   messages that have begun: their age, and their memory
    watching.py     one connection's frames, shown to an operator
"""
