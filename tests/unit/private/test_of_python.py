from __future__ import annotations

import argparse
import socket
from types import SimpleNamespace
from typing import Any

from wsservice.private import absent
from wsservice.private.of_python import options_of, raw_accept


def test_this_python_has_the_names() -> None:
    kind: Any = socket.socket
    assert raw_accept(kind) is not None
    assert absent(argparse.ArgumentParser, ["_actions"]) == []


def test_without_that_name_there_is_none() -> None:
    other: Any = SimpleNamespace(accept=lambda: None)
    assert raw_accept(other) is None


def test_a_parser_has_its_options_and_arguments() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    added = [parser.add_argument("url"), parser.add_argument_group("more").add_argument("--count")]
    assert options_of(parser) == added


def test_without_that_name_a_parser_has_none() -> None:
    other: Any = SimpleNamespace()
    assert options_of(other) == []
