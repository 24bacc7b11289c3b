"""The codecs, one by one, whichever of them the service would choose."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from wsservice.protocol import frames

from .needs import need

CODECS = ["python", "native"]
BUILT = [each for each in CODECS if find_spec(f"wsservice.protocol.frames._{each}")]
"""For tests by hypothesis, which pytest-twisted cannot run more than once."""
CONTRACT = sorted(set(frames.__all__) - {"CODEC"})


def load(name: str) -> Any:
    """The module of a codec; the test needs it."""
    need(name in BUILT, f"the {name} codec, built where there is a compiler")
    return importlib.import_module(f"wsservice.protocol.frames._{name}")


@contextmanager
def used(name: str) -> Iterator[None]:
    """All that asks `frames` for its codec gets this one."""
    module = load(name)
    with pytest.MonkeyPatch.context() as patch:
        for each in CONTRACT:
            patch.setattr(frames, each, getattr(module, each))
        yield
