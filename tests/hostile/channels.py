"""The channels of the attacked server that are not attacked."""

CONTROL = "control"
"""Where a test asks for what was measured."""

NEIGHBOUR = "neighbour"
"""Of those who only want to be served: an echo under each behaviour."""
