"""How many nodes and Redis servers a load needs: `python -m wsservice.scaling`.

The map. Imports run one way, downwards in this list::

    figures.py      what one process and one Redis needed, measured
    model.py        what a load needs by them, and which machines carry it
    shown.py        that, as text, Markdown and JSON
    __main__.py     the program

All of it is arithmetic. `docs/scaling.md` has what it comes to, how it was checked,
and what it does not know.
"""
