"""Let the nodes of one service know and ask one another, by way of the broker.

It may import `broker`, `directory` and what lies below them.

The modules::

    answering.py  answers to other nodes
    asking.py     questions to other nodes
    checking.py   checks of values from other nodes
    cluster.py    Cluster: put together, started, stopped
    facts.py      a node's facts about itself
    figures.py    figures of the nodes, for Prometheus
    home.py       this node, as the others see it
    merging.py    parts of the lists of several, as one
    people.py     the connections of all nodes
    questions.py  questions between nodes, and their answers
    registry.py   the nodes that are there
    rows.py       the parts of lists in answers
    user_questions.py  questions about users, and their answers
"""

from .cluster import Cluster, open_cluster
from .home import Doing, Home, local_home

__all__ = ["Cluster", "Doing", "Home", "local_home", "open_cluster"]
