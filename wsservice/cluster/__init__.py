"""The nodes of one service, which meet at a broker: who they are, and asking one another.

Each is a service of its own, in one process or with workers, and is here by what beats in the
process that was started. It says in the broker that it is there, again and again; where that
is not said any more, it is forgotten. What else there is to know is asked of each, by messages.
Whatever comes by the broker is checked in every member before it is used.

The map. Imports run one way, downwards in this list::

    checking.py   whether a value is what it should be            PURE
    facts.py      what a node says of itself                      PURE
    questions.py  what nodes ask of each other, and answers       PURE
    registry.py   which nodes there are
    asking.py     asking other nodes
    home.py       this node, as the others see it
    answering.py  what others ask of this one
    merging.py    parts of the lists of several, as one           PURE
    people.py     the connections of all nodes
    figures.py    the figures of all this
    cluster.py    Cluster: put together, started, stopped
"""

from .cluster import Cluster, open_cluster
from .home import Doing, Home, local_home, reasons_of

__all__ = ["Cluster", "Doing", "Home", "local_home", "open_cluster", "reasons_of"]
