"""What a row becomes: a tuple, a dict, or an object of a class that takes the columns as keywords. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

__all__ = ["Maker", "Row", "maker"]

Row: TypeAlias = tuple[Any, ...]
Maker: TypeAlias = Callable[[Sequence[Any]], Any]


def maker(kind: Any, names: Sequence[str]) -> Maker:
    """``kind``: tuple, dict, or a class such as a msgspec Struct or a dataclass; ``names``: of the columns."""
    if kind is tuple:
        return tuple
    if kind is dict:
        return lambda values: dict(zip(names, values, strict=True))
    return lambda values: kind(**dict(zip(names, values, strict=True)))
