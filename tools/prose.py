"""Count headless sentences and comments: `python -m tools.prose`, a part of `make lint`.

A sentence is headless if a clause stands in the place of its subject, as in "Who asks gets an
answer". A reader must reach the verb before it is clear what the sentence is about. Questions
do not count.

`BOUNDS` and `COMMENTS` hold the limits. They are ratchets: lower a bound once the text is better.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Bound(NamedTuple):
    """The limit for a group of files."""

    paths: tuple[str, ...]
    """Files and folders, from the root of the repository. A folder counts with all below it."""

    headless: float
    """The share of sentences that may be headless, from 0 to 1."""

    empty: int = 0
    """The number of docstrings that may say only "As X has it"."""


BOUNDS = {
    "docs": Bound(("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs"), 0.005),
    "wsservice": Bound(("wsservice",), 0.005),
    "tests": Bound(("tests", "benchmarks", "examples", "tools"), 0.005),
}

COMMENTS = {"wsservice/broker": 0.06, "wsservice/net": 0.07, "wsservice/protocol": 0.07}
"""The least share of comment lines, for each code line, by package."""

HEADLESS = re.compile(r"(Who|Whoever|What|Where|Of|So many|Else|Which|Whether|Thus)\b")
EMPTY = re.compile(r"As [^.]{1,60} ha(s|ve) it\.?")

_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_ITEM = re.compile(r"\s*([-*+]|\d+[.)])\s+")
_END = re.compile(r"[.:;?!][)\"'*_]*(?=\s|$)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"(`+)(?:(?!`).)+?\1(?!`)", re.DOTALL)
_RULE = re.compile(r"\|?[\s:|-]*-[\s:|-]*\|?")
_MARKS = " \t\n*_\"'(>|"
_PRAGMA = re.compile(r"#\s*(noqa|type:|pragma|mypy|ruff|fmt:|!|-\*-)")
_NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


class Sentence(NamedTuple):
    """A sentence, or the part of one that ends at a colon or a semicolon."""

    line: int
    text: str

    @property
    def is_headless(self) -> bool:
        """True if it begins with a clause as its subject, and is no question."""
        return bool(HEADLESS.match(self.text)) and not self.text.endswith("?")


def _sentences(paragraph: list[tuple[int, str]]) -> Iterator[Sentence]:
    """Split numbered lines that belong together."""
    text = "\n".join(line for _, line in paragraph)
    # The replacements keep every newline, so that positions lead to lines.
    text = _CODE.sub(lambda code: "\n" * code[0].count("\n") + "CODE", text)
    text = _LINK.sub(
        lambda link: link[1] + "\n" * (link[0].count("\n") - link[1].count("\n")), text
    )
    begin = 0
    for end in [*(each.end() for each in _END.finditer(text)), len(text)]:
        piece = text[begin:end]
        words = piece.strip(_MARKS).rstrip(")")
        if re.search(r"\w", words):
            skipped = len(piece) - len(piece.lstrip(_MARKS))
            line = paragraph[text.count("\n", 0, begin + skipped)][0]
            yield Sentence(line, " ".join(words.split()))
        begin = end


def _paragraphs(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Group numbered lines by blank lines and list items."""
    paragraph: list[tuple[int, str]] = []
    for number, line in lines:
        item = _ITEM.match(line)
        if (item or not line.strip()) and paragraph:
            yield paragraph
            paragraph = []
        if line.strip():
            paragraph.append((number, line[item.end() :] if item else line))
    if paragraph:
        yield paragraph


def _markdown_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose. Code, headings and comments become blank lines."""
    text = re.sub(r"<!--.*?-->", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    fence = ""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line)
        if fence or mark:
            if mark and not fence:
                fence = mark[1]
            elif mark and mark[1] == fence:
                fence = ""
            yield number, ""
        elif line.startswith("#") or _RULE.fullmatch(line):
            yield number, ""
        elif line.startswith("|"):
            following = lines[number] if number < len(lines) else ""
            if not (following.startswith("|") and _RULE.fullmatch(following)):
                for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
                    yield number, cell
                    yield number, ""
        else:
            yield number, line


def of_markdown(text: str) -> list[Sentence]:
    """Return the sentences of a document in Markdown.

    Each cell of a table counts for itself; fenced blocks, headings and the heads of tables do not
    count.
    """
    return [each for group in _paragraphs(_markdown_lines(text)) for each in _sentences(group)]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all that stands below a node, down to statements, without their expressions.

    Most of a module's nodes are expressions, and none of them has a statement in it.
    """
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for each in getattr(node, field, ()):
            yield each
            yield from _statements(each)


def docstrings(source: str) -> list[tuple[int, str]]:
    """Return the docstrings of a module, with their lines.

    A string that stands as a statement is one, below an attribute too.
    """
    found = [
        (node.lineno, node.value.value)
        for node in _statements(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return sorted(found)


def of_docstring(line: int, text: str) -> list[Sentence]:
    """Return the sentences of a docstring that begins at a line of its module.

    A paragraph that is indented as a whole is code, or a table, and does not count.
    """
    blank = len(text) - len(text.lstrip("\n"))
    cleaned = _markdown_lines(cleandoc(text))
    numbered = [(line + blank + number - 1, each) for number, each in cleaned]
    return [
        each
        for group in _paragraphs(numbered)
        if not all(text.startswith("    ") for _, text in group)
        for each in _sentences(group)
    ]


def commented(source: str) -> tuple[int, int]:
    """Return how many lines of a module have a comment, and how many have code.

    Instructions to tools, such as `noqa`, are no comments, and docstrings are no code.
    """
    comments: set[int] = set()
    code: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not _PRAGMA.match(token.string):
            comments.add(token.start[0])
        elif token.type not in _NOT_CODE:
            if not (begins and token.type == tokenize.STRING):
                code.update(range(token.start[0], token.end[0] + 1))
            begins = False
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            begins = True
    return len(comments), len(code)


def _files(paths: Iterable[str], root: Path) -> Iterator[Path]:
    for each in paths:
        path = root / each
        found = [path] if path.is_file() else [*path.rglob("*.md"), *path.rglob("*.py")]
        ignored = {"node_modules", "build", "__pycache__"}
        yield from sorted(file for file in found if not ignored & set(file.parts))


class Count(NamedTuple):
    """The sentences of a group of files."""

    total: int
    headless: list[tuple[Path, Sentence]]
    empty: list[tuple[Path, Sentence]]


def counted(paths: Iterable[str], root: Path = ROOT) -> Count:
    """Count the sentences of documents, and of the docstrings of modules.

    Raises FileNotFoundError if a path has no files, so that a bound cannot hold for nothing.
    """
    sentences: list[tuple[Path, Sentence]] = []
    empty: list[tuple[Path, Sentence]] = []
    for path in paths:
        files = list(_files([path], root))
        if not files:
            raise FileNotFoundError(f"{path}: no documents and no modules")
        for file in files:
            text = file.read_text(encoding="utf-8")
            if file.suffix == ".md":
                sentences += [(file, each) for each in of_markdown(text)]
                continue
            for line, docstring in docstrings(text):
                sentences += [(file, each) for each in of_docstring(line, docstring)]
                if EMPTY.fullmatch(" ".join(docstring.split())):
                    empty.append((file, Sentence(line, docstring.strip())))
    headless = [each for each in sentences if each[1].is_headless]
    return Count(len(sentences), headless, empty)


def share_of_comments(package: str, root: Path = ROOT) -> float:
    """Return the comment lines of a package for each of its code lines."""
    counts = [commented(each.read_text(encoding="utf-8")) for each in _files([package], root)]
    code = sum(each for _, each in counts)
    if not code:
        raise FileNotFoundError(f"{package}: no modules")
    return sum(each for each, _ in counts) / code


def _shown(found: list[tuple[Path, Sentence]], root: Path) -> None:
    for file, sentence in found:
        print(f"{file.relative_to(root)}:{sentence.line}: {sentence.text[:90]}")


def _within_bound(name: str, bound: Bound, root: Path, *, quiet: bool) -> bool:
    count = counted(bound.paths, root)
    share = len(count.headless) / count.total if count.total else 0.0
    is_within = share <= bound.headless and len(count.empty) <= bound.empty
    if not (quiet and is_within):
        _shown(count.headless + count.empty, root)
    print(
        f"{name}: {len(count.headless)} of {count.total} sentences are headless,"
        f" {share:.2%} of at most {bound.headless:.2%};"
        f" {len(count.empty)} docstrings are empty, of at most {bound.empty}"
    )
    return is_within


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Print the counts, and return the exit status: 1 if one is beyond its bound."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "packages",
        nargs="*",
        metavar="PACKAGE=SHARE",
        help="packages whose comment lines are counted, such as wsservice/protocol=0.06,"
        " instead of those in COMMENTS",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print sentences only where a bound is broken"
    )
    options = parser.parse_args(arguments)
    comments = {
        package: float(least or 0)
        for package, _, least in (each.partition("=") for each in options.packages)
    } or COMMENTS
    within = [
        _within_bound(name, bound, root, quiet=options.quiet) for name, bound in BOUNDS.items()
    ]
    for package, least in comments.items():
        share = share_of_comments(package, root)
        within.append(share >= least)
        print(f"{package}: {share:.2%} comment lines for each code line, of at least {least:.2%}")
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
