"""The channels of the attacked server that are not attacked."""

CONTROL = "control"
"""The channel on which a test asks for the figures."""

NEIGHBOUR = "neighbour"
"""The channel of harmless clients: every behaviour echoes on it."""
