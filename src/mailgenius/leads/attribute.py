"""``Attribute``: one condition on an entry of a lead's ``attributes``. Pure.

Imported attributes are text, those an application writes may be any JSON, so a number is compared with both: with JSON
numbers and with text in the form of a plain decimal number. Everything else in other rows just does not match.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .segment_check import text

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "exists")
_INT64 = 1 << 63  # msgpack and bigint end there


class Attribute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, eq=False):
    """``Attribute("plan", "=", "pro")``, ``Attribute("visits", ">=", 10)``, ``Attribute("birthday", "exists")``.

    ``!=`` is the opposite of ``=``: it also holds for a lead without the attribute. ``exists`` means that it is there
    and not null. ``<`` and the like compare numbers with numbers, and text with text by code points (collation "C").
    """

    name: str
    op: str
    value: str | int | float | bool | None = None

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ConfigError(f"$.op: {self.op!r} is none of {', '.join(OPERATORS)}")
        set_ = msgspec.structs.force_setattr
        set_(self, "name", text("$.name", self.name))
        set_(self, "op", text("$.op", self.op))
        set_(self, "value", _value(self.op, self.value))

    @property
    def number_text(self) -> str | None:
        """How a file spells the value, if it is a number: 10 for 10.0, no exponent."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        return format(Decimal(repr(self.value)), "f")

    def __repr__(self) -> str:
        value = "" if self.op == "exists" else f", {self.value!r}"
        return f"Attribute({self.name!r}, {self.op!r}{value})"

    # Python takes True for 1; here they are different conditions.
    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Attribute) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.name, self.op, isinstance(self.value, bool), self.value


def _value(op: str, value: Any) -> str | int | float | bool | None:
    if op == "exists":
        if value is not None:
            raise ConfigError('$.value: has no meaning with "exists"; leave it out')
        return None
    if isinstance(value, str):
        return text("$.value", value, empty=True)
    if isinstance(value, bool):
        if op not in ("=", "!="):
            raise ConfigError(f"$.value: {value!r} has no order; use = or !=")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"$.value: {value!r} is no number that a lead can have")
        return int(value) if value.is_integer() and -_INT64 <= value < _INT64 else float(value)
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise ConfigError(f"$.value: {value} does not fit in 64 bits")
        return int(value)
    found = "is missing" if value is None else f"expected str, number or bool, got {type(value).__name__}"
    raise ConfigError(f'$.value: {found}; "{op}" compares with it')
