"""Compute how many nodes and Redis servers a load needs: `python -m wsservice.scaling`.

It may import `config.units`, `escape` and `errors`.

The modules::

    __main__.py  the program
    figures.py   measured needs of one process and one Redis
    model.py     the needs of a load, and the machines that carry it
    shown.py     results as text, Markdown and JSON
"""
