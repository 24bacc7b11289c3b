"""Parts of a document that a program writes, each between two marks of its own. PURE."""

from __future__ import annotations

from .errors import BenchmarkError


def marks(name: str) -> tuple[str, str]:
    """The lines around a part."""
    return f"<!-- written: {name} -->\n", f"<!-- /written: {name} -->\n"


def part(document: str, name: str) -> str:
    """Return the text between the marks of a part. Raises `BenchmarkError` if they are missing."""
    begin, end = marks(name)
    if document.count(begin) != 1 or document.count(end) != 1:
        raise BenchmarkError(f"the document has no part {name!r}, or several")
    return document.partition(begin)[2].partition(end)[0]


def with_part(document: str, name: str, text: str) -> str:
    """The document with another text there, in lines of its own."""
    before = part(document, name)
    begin, end = marks(name)
    return document.replace(begin + before + end, f"{begin}\n{text.strip()}\n\n{end}")
