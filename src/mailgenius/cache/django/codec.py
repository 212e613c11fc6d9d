"""What stands at a name in Redis, for a value of Django's cache. Pure.

    42, -1                 an int of 64 bits, as INCRBY counts it
    \\xc1 D …  \\xc1 d …     any other value (``values``); with a small letter, zstd of it
    \\xc1 S …  \\xc1 s …     the same, by the application's own serializer

What cannot be read is a miss: ``unread`` counts it by reason. Safe to share between threads.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections import Counter
from typing import Any, Final, Protocol

import zstandard
from django.utils.module_loading import import_string

from mailgenius.cache.codec import MAX_EXPANDED
from mailgenius.cache.django.values import django_values
from mailgenius.cache.marks import MISS

__all__ = ["Codec", "Serializer"]

_log = logging.getLogger("mailgenius.cache")
_NUMBER: Final = re.compile(rb"-?\d{1,19}")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_SAVES = 8  # compressed is kept if it saves one part in so many


class Serializer(Protocol):
    """What OPTIONS["serializer"] names. ints of 64 bits do not come to it."""

    def dumps(self, value: Any, /) -> bytes: ...

    def loads(self, data: bytes, /) -> Any: ...


class Codec:
    """``unread`` counts by reason: "foreign" (not written by this cache), "serializer" (by one with another serializer),
    "damaged" (it could not be read, or is too large)."""

    def __init__(self, serializer: Any, compress_from: int | None) -> None:
        """``serializer``: as in ``Options``."""
        self.unread: Counter[str] = Counter()
        self._serializer: Serializer = django_values() if serializer is None else _made(serializer)
        letter = b"D" if serializer is None else b"S"
        self._whole, self._small = b"\xc1" + letter, b"\xc1" + letter.lower()
        self._compress_from = MAX_EXPANDED if compress_from is None else compress_from
        self._compressors: list[zstandard.ZstdCompressor] = []
        self._decompressors: list[zstandard.ZstdDecompressor] = []

    def encode(self, value: Any) -> bytes:
        """What to store. Raises TypeError, ValueError, or what the application's serializer raises."""
        if type(value) is int and _LOW <= value <= _HIGH:
            return b"%d" % value
        data = self._serializer.dumps(value)
        if self._compress_from <= len(data) < MAX_EXPANDED:
            smaller = self._compressed(data)
            if len(smaller) <= len(data) - len(data) // _SAVES:
                return self._small + smaller
        return self._whole + data

    def decode(self, data: bytes) -> Any:
        """The value, or MISS."""
        mark = data[:2]
        if mark == self._whole or mark == self._small:
            try:
                return self._serializer.loads(data[2:] if mark == self._whole else self._expanded(data[2:]))
            except Exception as error:  # of another version of the program, or damaged: no reason to fail
                _log.warning("a cached value cannot be read: %r", error)
                return self._miss("damaged")
        if _NUMBER.fullmatch(data):
            return int(data)
        return self._miss("serializer" if mark in (b"\xc1D", b"\xc1d", b"\xc1S", b"\xc1s") else "foreign")

    def _miss(self, why: str) -> Any:
        self.unread[why] += 1
        return MISS

    def _compressed(self, data: bytes) -> bytes:
        try:
            compressor = self._compressors.pop()
        except IndexError:
            compressor = zstandard.ZstdCompressor(level=1)
        smaller = compressor.compress(data)
        self._compressors.append(compressor)
        return smaller

    def _expanded(self, data: bytes) -> bytes:
        if zstandard.get_frame_parameters(data).content_size > MAX_EXPANDED:  # also when it is not said
            raise zstandard.ZstdError("too large")
        try:
            decompressor = self._decompressors.pop()
        except IndexError:
            decompressor = zstandard.ZstdDecompressor()
        expanded = decompressor.decompress(data)
        self._decompressors.append(decompressor)
        return expanded


def _made(serializer: Any) -> Any:
    if isinstance(serializer, str):
        serializer = import_string(serializer)
    return serializer() if inspect.isclass(serializer) else serializer
