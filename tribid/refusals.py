"""What is told of a value that is not allowed, with what is: msgspec and pydantic often name the field alone.

>>> with_choices("Invalid enum value 'loud' - at `$.mode`", _Example)
"Invalid enum value 'loud'; allowed are quiet, soft - at `$.mode`"
"""

import re
from collections.abc import Collection, Iterable
from functools import cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import inspect
from pydantic import BaseModel
from pydantic_core import ErrorDetails

_T = TypeVar("_T")
_MOST = 24
_STEP = re.compile(r"\.(\w+)|\[(?:\d+|\.\.\.)\]")
_PATH = re.compile(rf"\$(?:{_STEP.pattern})*")
_ENUM, _UNKNOWN, _MISSING = "Invalid enum value ", "Object contains unknown field ", "Object missing required field "
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)


class JsonDecoder(Generic[_T]):
    """msgspec's decoder of JSON, whose ``ValidationError`` says what is allowed as ``with_choices`` does."""

    def __init__(self, kind: type[_T]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def decode(self, content: bytes | str) -> _T:
        """The message in some JSON; raises what msgspec does."""
        try:
            return self._decode(content)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(with_choices(str(error), self._kind)) from None


def listed(names: Collection[Any], most: int = _MOST) -> str:
    """Names for a sentence, the first ``most`` of them and how many more there are; ``none`` where there are none.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
    ('a, b, c', 'a and 2 more')
    """
    told = ", ".join(map(str, islice(names, most))) or "none"
    return f"{told} and {len(names) - most} more" if len(names) > most else told


def allowed(names: Collection[Any], most: int = _MOST) -> str:
    """What is allowed, as a sentence's end.

    >>> allowed(["on", "off"]), allowed(["on"])
    ('allowed are on, off', 'allowed is on')
    """
    return f"allowed {'are' if len(names) > 1 else 'is'} {listed(names, most)}"


def with_choices(told: str, kind: Any) -> str:
    """msgspec's error about JSON of a ``kind``, with the values, or the names of fields, that are allowed at its place.

    It still ends in where that is. An error that says what is allowed already, or that is of another kind, is left as it is.
    """
    what, at, where = told.rpartition(" - at `")
    what, where = (what, where.removesuffix("`")) if at else (told, "$")
    if not _PATH.fullmatch(where):
        return told
    kinds = _at(kind, where)
    fields = [field for one in kinds if isinstance(one, inspect.StructType) for field in one.fields]
    more = ""
    if what.startswith(_ENUM):
        more = _allowed([value for one in kinds if isinstance(one, inspect.LiteralType) for value in one.values])
    elif what.startswith(_UNKNOWN):
        more = _allowed([field.encode_name for field in fields])
    elif what.startswith(_MISSING):
        needed = [field.encode_name for field in fields if field.required]
        more = f"; required are {listed(needed)}" if len(needed) > 1 else ""
    return f"{what}{more}{told[len(what) :]}"


def what_is_wrong(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """The message of one of pydantic's errors about a ``model``; for an unknown field with the fields that there are."""
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] != "extra_forbidden":
        return message
    found: list[Any] = [model]
    for step in detail["loc"][:-1]:
        found = _inside(found, step)
    return message + _allowed([name for part in found if _is_model(part) for name in part.model_fields])


def _allowed(names: list[Any]) -> str:
    return f"; {allowed(names)}" if names else ""


def _at(kind: Any, where: str) -> list[inspect.Type]:
    """The types that a value may have at a place such as ``$.events[2].kind``."""
    found = _plain(_shape(kind))
    for step in _STEP.finditer(where):
        found = [part for one in found for inner in _one_in(one, step[1]) for part in _plain(inner)]
    return found


@cache
def _shape(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _plain(kind: inspect.Type) -> list[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)
    return [part for one in kind.types for part in _plain(one)] if isinstance(kind, inspect.UnionType) else [kind]


def _one_in(kind: inspect.Type, field: str | None) -> Iterable[inspect.Type]:
    """The type of a field, or (None) of any entry."""
    if isinstance(kind, inspect.StructType):
        return [one.type for one in kind.fields if one.encode_name == field]
    if field is None and isinstance(kind, _LISTS):
        return [kind.item_type]
    if field is None and isinstance(kind, inspect.TupleType):
        return kind.item_types
    return [kind.value_type] if field is None and isinstance(kind, inspect.DictType) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kinds: list[Any], step: int | str) -> list[Any]:
    """The types one step further into a location of pydantic's; the tag of a union chooses among its models."""
    models = [kind for kind in kinds if _is_model(kind)]
    tagged = [model for model in models if any(step in _values(one.annotation) for one in model.model_fields.values())]
    if len(models) > 1 and tagged:
        return tagged
    found: list[Any] = []
    for kind in kinds:
        if _is_model(kind):
            found += [part for one in [kind.model_fields.get(step)] if one for part in _parts(one.annotation)]
        elif get_origin(kind) in (tuple, list, dict):
            found += _parts(get_args(kind)[1 if get_origin(kind) is dict else 0])
    return found


def _values(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _parts(annotation: Any) -> list[Any]:
    """The types of a union, without what is annotated."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for one in get_args(annotation) for part in _parts(one)]
    return [annotation]


class _Example(msgspec.Struct):
    """For the example above."""

    mode: Literal["quiet", "soft"]
