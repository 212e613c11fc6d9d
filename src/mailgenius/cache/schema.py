"""A number for a type's form, so that a value stored by another version of the program is a miss, not a wrong value.

Positional formats need it most: two fields of a ``Struct(array_like=True)`` that changed places decode without an error.
Defaults are not part of the form; names, order, types and bounds are.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from msgspec import inspect as mi

__all__ = ["fingerprint"]

_LEFT_OUT = {"default", "default_factory"}


def fingerprint(kind: Any) -> int:
    """32 bits of ``kind``, the same in every process; 0 for ``Any``. TypeError if values of it cannot be stored."""
    if kind is Any:
        return 0
    try:
        info = mi.type_info(kind)
    except (TypeError, NameError) as error:
        raise TypeError(f"msgspec does not know {kind!r}: {error}") from None
    return zlib.crc32(_form(info, {}).encode()) or 1


def _form(part: Any, seen: dict[Any, int]) -> str:
    if isinstance(part, mi.CustomType):
        raise TypeError(f"msgspec cannot store {part.cls!r}: use a Struct, a dataclass, or a type that it knows")
    if isinstance(part, mi.Type | mi.Field):
        named = getattr(part, "cls", None)
        if named is not None:
            if named in seen:  # it holds itself
                return f"^{seen[named]}"
            seen[named] = len(seen)
        fields = [name for name in part.__struct_fields__ if name not in _LEFT_OUT]
        return f"{type(part).__name__}({','.join(f'{n}={_form(getattr(part, n), seen)}' for n in fields)})"
    if isinstance(part, tuple | list):
        return f"[{','.join(_form(item, seen) for item in part)}]"
    if isinstance(part, type):
        if issubclass(part, msgspec.Struct):
            config = part.__struct_config__
            return f"{part.__qualname__}:{config.array_like}:{config.tag_field}:{config.tag}"
        members = getattr(part, "__members__", None)
        return part.__qualname__ + (repr([member.value for member in members.values()]) if members else "")
    return repr(part)
