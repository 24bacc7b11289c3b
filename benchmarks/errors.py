"""The errors of a run. The text of each is one line."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The run cannot be made: something that it needs is not there."""


class MeasurementError(BenchmarkError):
    """One measurement failed: a server did not start, or did not do the work."""
