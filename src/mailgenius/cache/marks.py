"""What stands at a value's name on the server when no value does, and the scripts that read it. Pure.

    \\xc1 L token                       a lease: somebody loads, and may store only while this is still there
    \\xc1 W overlap (token end)...      writers are at work (write_through): nothing is stored until they have ended

Both read as a miss. The first byte is that of an envelope (codec), the second is no format of one. A deletion leaves
nothing: whoever was loading finds his lease gone.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, final

__all__ = ["HEAD", "LEASE", "MISS", "WRITERS", "Miss", "big_endian", "lease", "lua", "token"]

LEASE: Final = b"\xc1L"
WRITERS: Final = b"\xc1W"
HEAD: Final = 40  # bytes of an envelope's head: its checksum makes it one of a kind


@final
class Miss:
    """The type of ``MISS``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


#: What a read gives when there is no value, unless the caller wants something else. A cached ``None`` is ``None``.
MISS: Final = Miss()


def token() -> bytes:
    return secrets.token_bytes(12)


def lease() -> bytes:
    return LEASE + token()


def big_endian(version: int) -> bytes:
    """In this form, bytes compare as the numbers do."""
    return version.to_bytes(8, "big")


def lua(name: str) -> Path:
    """The file of a script."""
    return Path(__file__).with_name("lua") / f"{name}.lua"
