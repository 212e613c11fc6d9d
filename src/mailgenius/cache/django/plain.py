"""Python's plain values to bytes and back, each as exactly what it was. Never by pickle: reading runs no code. Pure.

MessagePack carries None, bool, int, float, str, bytes, list and dict. Everything else is an extension (``Ext``) whose
number says what it is, and whose data is MessagePack again. Only exact types are stored: a subclass would come back as
something else.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

__all__ = ["Form", "Plain"]

#: How values of one type are stored: the number of the extension, what it is made of, and what makes it of that.
Form: TypeAlias = tuple[int, Callable[[Any], Any], Callable[[Any], Any]]

_ENOUGH: Final = frozenset({type(None), bool, float, str, bytes})  # MessagePack carries them as they are
_KEYS: Final = frozenset({type(None), bool, float, str, bytes, int})
_DICT: Final = 1  # with keys that MessagePack does not carry: key, value, key, value
_LOW, _HIGH = -(1 << 63), (1 << 64) - 1


class Plain:
    """``forms``: more types, by exact type. ``other(value)`` gives number and makings of a value of any other type, or None
    if it does not know it either; ``makers`` make it again, by number."""

    def __init__(
        self,
        forms: dict[type, Form] | None = None,
        other: Callable[[Any], tuple[int, Any] | None] | None = None,
        makers: dict[int, Callable[[Any], Any]] | None = None,
    ) -> None:
        self._forms = _FORMS | (forms or {})
        self._other = other
        self._makers = {number: make for number, _, make in self._forms.values()} | {_DICT: _dict} | (makers or {})
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(ext_hook=self._made).decode

    def dumps(self, value: Any) -> bytes:
        """TypeError if a value in it is of a type that cannot be stored, ValueError if it contains itself, or text that is
        no Unicode."""
        try:
            return self._pack(self._tree(value))
        except RecursionError:
            raise ValueError("it contains itself, or is nested too deeply") from None

    def loads(self, data: bytes | memoryview) -> Any:
        """Raises whatever comes of data that ``dumps`` has not made."""
        return self._unpack(data)

    def _tree(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ENOUGH:
            return value
        if kind is list:
            return [one if type(one) in _ENOUGH else self._tree(one) for one in value]
        if kind is dict:
            if all(type(key) in _KEYS and (type(key) is not int or _LOW <= key <= _HIGH) for key in value):
                return {key: one if type(one) in _ENOUGH else self._tree(one) for key, one in value.items()}
            return self._ext(_DICT, [part for pair in value.items() for part in pair])
        if kind is int and _LOW <= value <= _HIGH:
            return value
        if (form := self._forms.get(kind)) is not None:
            return self._ext(form[0], form[1](value))
        found = self._other(value) if self._other is not None else None
        if found is None:
            raise TypeError(_refusal(value))
        return self._ext(*found)

    def _ext(self, number: int, makings: Any) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(number, self._pack(self._tree(makings)))

    def _made(self, number: int, data: memoryview) -> Any:
        return self._makers[number](self._unpack(data))


def _dict(parts: list[Any]) -> dict[Any, Any]:
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _zone(zone: tzinfo | None) -> Any:
    """A name, or microseconds from UTC and perhaps what they are called."""
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, *names = zone.__getinitargs__()  # type: ignore[attr-defined]
        return [offset // timedelta(microseconds=1), *names]
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    raise TypeError(
        f"a time zone of type {_name(type(zone))} cannot be cached: use zoneinfo.ZoneInfo(name) or datetime.timezone"
    )


def _zoned(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        return zoneinfo.ZoneInfo(zone)
    return timezone(timedelta(microseconds=zone[0]), *zone[1:])


def _clock(value: datetime | time) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo)]


def _datetime(parts: list[Any]) -> datetime:
    return datetime.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=_zoned(parts[2]))


def _time(parts: list[Any]) -> time:
    return time.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=_zoned(parts[2]))


def _large(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


_FORMS: Final[dict[type, Form]] = {
    tuple: (2, list, tuple),
    set: (3, list, set),
    frozenset: (4, list, frozenset),
    int: (5, _large, lambda data: int.from_bytes(data, "big", signed=True)),
    datetime: (6, _clock, _datetime),
    date: (7, date.toordinal, date.fromordinal),
    time: (8, _clock, _time),
    timedelta: (9, lambda value: [value.days, value.seconds, value.microseconds], lambda parts: timedelta(*parts)),
    Decimal: (10, str, Decimal),
    UUID: (11, lambda value: value.bytes, lambda data: UUID(bytes=data)),
    bytearray: (12, bytes, bytearray),
    complex: (13, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
}


def _refusal(value: Any) -> str:
    kind = type(value)
    for base in (str, bytes, bool, int, float, tuple, list, dict, set, datetime, date):
        if isinstance(value, base):
            return f"{_name(kind)} would come back as {base.__name__}: cache {base.__name__}(value)"
    if hasattr(kind, "_meta") or hasattr(kind, "as_manager"):
        return f"{_name(kind)} is of the database: cache its fields (queryset.values(), model_to_dict()), or its key"
    return f"{_name(kind)} is none of the types that are stored: cache plain values that it can be made of again"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
