"""Hold the private names of other libraries that wsservice uses, one module for each library.

A private name may be gone in the next version of its library. Each module says what a name is
needed for, and what happens without it: a fallback that is slower or says less, or one line that
names the version. No module raises at its import. tests/unit/private holds that no other module
reads such a name; `make oldest` runs those tests with the oldest versions that `pyproject.toml`
admits.

It may import `escape`, `errors`, and the libraries.

The modules::

    of_autobahn.py   what our connections share with Autobahn's own
    of_pyopenssl.py  OpenSSL without pyOpenSSL's layer
    of_python.py     the socket that accepts, the options of a parser
    of_twisted.py    reactors, ports, endpoints, TLS, twisted.web, the log
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType
from typing import Any


def absent(owner: type, names: Iterable[str]) -> list[str]:
    """Return those of the names that a class does not know.

    It knows its attributes, and the names that its methods use: most attributes are set in methods
    only. A name with `()` is that of a method, and must be an attribute of the class. If a class
    has no code to read, only methods can be absent.
    """
    used: set[str] = set()
    for base in owner.__mro__:
        for each in vars(base).values():
            code = getattr(getattr(each, "__func__", each), "__code__", None)
            if isinstance(code, CodeType):
                used |= _names(code)
    return [name for name in names if not _knows(owner, name, used)]


def _knows(owner: type, name: str, used: set[str]) -> bool:
    if hasattr(owner, name.removesuffix("()")):
        return True
    return not name.endswith("()") and (name in used or not used)


def _names(code: CodeType) -> set[str]:
    """Return the names that a function uses, those of functions within it included."""
    within: list[Any] = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names, *(name for each in within for name in _names(each))}
