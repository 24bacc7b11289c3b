from __future__ import annotations

from ..integration.conftest import programs

__all__ = ["programs"]
