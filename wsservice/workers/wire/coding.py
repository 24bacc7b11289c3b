"""Messages of the bus as classes: their fields are the members of a JSON object. PURE.

The member `say` of the object names the class, by its `kind`. The annotations of the fields decide
which values are right. Other members are ignored: after a roll, a worker may be of a later version
than its parent. A field that such a version adds therefore needs a default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import attrs

from .framing import MessageError, WrongFieldError

M = TypeVar("M", bound="BusMessage")
T = TypeVar("T")
Receiver = TypeVar("Receiver")

_Reader = Callable[[object], Any]
"""A function that returns a value of JSON as one of a field. Raises `TypeError` or `LookupError`
for a value of a wrong type."""

_PLAIN: dict[object, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    bool: (bool,),
    float: (float, int),
    NoneType: (NoneType,),
}
"""The types in JSON of a field's type."""


@attrs.frozen
class BusMessage:
    """A message between parent and worker."""

    kind: ClassVar[str]

    def body(self) -> bytes:
        """Return the body for the bus."""
        return json.dumps({"say": self.kind, **_members(self)}, default=_members).encode()


@attrs.frozen
class Reply(BusMessage):
    """The answer of a worker to a question."""

    kind: ClassVar[str] = "answer"

    request: int
    answer: Any


@attrs.frozen
class BusQuestion(BusMessage, Generic[T]):
    """A question of the parent. The answer is a `T`.

    `request` is its number, which the answer has too; 0 if the parent does not wait for an answer.
    """

    request: int = attrs.field(default=0, kw_only=True)

    def reply(self, answer: T) -> Reply:
        """Return the message with the answer."""
        return Reply(self.request, answer)

    def answer_of(self, said: object) -> T:
        """Return the answer in a reply. Raises `MessageError`."""
        try:
            class_: Any = type(self)
            answer: T = _reader_of_answer(class_)(said)
        except (TypeError, LookupError):
            raise MessageError(f"{self.kind!r}: that is no answer") from None
        return answer


class Kinds:
    """The messages that one end may receive, by their kind."""

    def __init__(self, *classes: type[BusMessage]) -> None:
        self.classes = classes
        self._by_kind = {each.kind: (each, _readers(each)) for each in classes}

    def message(self, body: bytes) -> BusMessage:
        """Return the message in a body of JSON.

        Raises `WrongFieldError` for a message of a known kind, `MessageError` for another body.
        """
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise MessageError("neither a publication nor JSON") from None
        if not isinstance(said, dict) or not isinstance(said.get("say"), str):
            raise MessageError("a JSON object without a member `say`")
        kind = said["say"]
        if kind not in self._by_kind:
            raise unknown(kind)
        class_, readers = self._by_kind[kind]
        values = {}
        for name, (read, is_needed) in readers.items():
            if name not in said and not is_needed:
                continue
            try:
                values[name] = read(said[name])
            except (TypeError, LookupError):
                request = said.get("request")
                raise WrongFieldError(
                    f"{kind!r}: there is no right {name!r}",
                    request if type(request) is int else 0,
                ) from None
        return class_(**values)


def unknown(kind: str) -> MessageError:
    """Return the error for a message of a kind that this end does not receive."""
    return MessageError(f"{kind!r} is not known")


def handler(
    class_: type[M], act: Callable[[Receiver, M], None]
) -> tuple[type[BusMessage], Callable[[Receiver, Any], None]]:
    """Return an item of a table of handlers by class: the types of the two must agree."""
    return class_, act


def _members(message: Any) -> dict[str, Any]:
    return {each.name: getattr(message, each.name) for each in attrs.fields(type(message))}


def _readers(class_: type[Any]) -> Mapping[str, tuple[_Reader, bool]]:
    """Return the reader of each field, and True if the field has no default."""
    types = get_type_hints(class_)
    return {
        each.name: (_reader(types[each.name]), each.default is attrs.NOTHING)
        for each in attrs.fields(class_)
    }


@cache
def _reader_of_answer(question: Any) -> _Reader:
    # The class of a question has one base, BusQuestion[T].
    (base,) = question.__orig_bases__
    return _reader(get_args(base)[0])


def _reader(type_: Any) -> _Reader:
    """Return the reader of a type."""
    origin, args = get_origin(type_), get_args(type_)
    if type_ is Any:
        return lambda value: value
    if attrs.has(type_):
        return _object_reader(type_)
    if origin is Literal:
        return _word_reader(args)
    if origin is UnionType:
        return _choice_reader([_reader(each) for each in args])
    if origin is tuple and args[-1] is Ellipsis:
        return _row_reader(_reader(args[0]))
    if origin is tuple:
        return _tuple_reader([_reader(each) for each in args])
    return _plain_reader((dict,) if origin is Mapping else _PLAIN[type_])


def _plain_reader(types: tuple[type, ...]) -> _Reader:
    def read(value: object) -> Any:
        if type(value) not in types:  # a bool is no number
            raise TypeError
        return value

    return read


def _word_reader(words: tuple[object, ...]) -> _Reader:
    def read(value: object) -> Any:
        if value not in words:
            raise TypeError
        return value

    return read


def _choice_reader(readers: list[_Reader]) -> _Reader:
    def read(value: object) -> Any:
        for each in readers:
            try:
                return each(value)
            except (TypeError, LookupError):
                continue
        raise TypeError

    return read


def _row_reader(reader: _Reader) -> _Reader:
    def read(value: object) -> Any:
        if not isinstance(value, list):
            raise TypeError
        return tuple(map(reader, value))

    return read


def _tuple_reader(readers: list[_Reader]) -> _Reader:
    def read(value: object) -> Any:
        if not isinstance(value, list) or len(value) != len(readers):
            raise TypeError
        return tuple(each(one) for each, one in zip(readers, value, strict=True))

    return read


def _object_reader(class_: type[Any]) -> _Reader:
    readers = _readers(class_)

    def read(value: object) -> Any:
        if not isinstance(value, dict):
            raise TypeError
        return class_(
            **{
                name: each(value[name])
                for name, (each, is_needed) in readers.items()
                if is_needed or name in value
            }
        )

    return read
