"""Any source as one stream of UTF-8 bytes: paths, file objects, bytes, iterables. Arrow streams are passed on unread.

Layers, each reading from the one below:  raw bytes (counted, hashed) -> decompression -> encoding -> ``Source``.
Invariant: what was read has a digest, so that ``resume`` can tell whether it reads the same again. One thread at a time
may use a Source.
"""

import hashlib
from types import TracebackType
from typing import Any, Final, Self

from isal import isal_zlib

from mailgenius import _native
from mailgenius.errors import SourceError
from mailgenius.importer import encoding as encodings
from mailgenius.importer.expand import Peekable, Reader, expand
from mailgenius.importer.origin import Origin, origin_of

__all__ = ["Digest", "Source", "open_source"]

SAMPLE: Final = 1 << 18  # bytes at the start of the text that decide on its encoding
PIECE: Final = 1 << 20  # bytes per checksum in the digest


class Digest:
    """What was read, in 16 bytes: a BLAKE2b hash over the CRC-32 of each MiB and the length.

    It guards against mistakes (another file, another version), not against someone who forges one; in return it runs at
    the speed of memory where BLAKE2b alone would take longer than reading. How the bytes were cut into blocks makes no
    difference.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16, person=b"mailgenius source"[:16])
        self._crc = 0
        self._length = 0

    def update(self, data: memoryview) -> None:
        while len(data):
            part = data[: PIECE - self._length % PIECE]
            self._crc = isal_zlib.crc32(part, self._crc)
            self._length += len(part)
            if self._length % PIECE == 0:
                self._hash.update(self._crc.to_bytes(4, "little"))
                self._crc = 0
            data = data[len(part) :]

    def digest(self) -> bytes:
        final = self._hash.copy()
        final.update(self._crc.to_bytes(4, "little") + self._length.to_bytes(8, "little"))
        return final.digest()


class _Counted:
    """Counts and hashes the raw bytes on their way up."""

    def __init__(self, origin: Reader) -> None:
        self._origin = origin
        self.bytes_read = 0
        self.digest = Digest()

    def readinto(self, view: memoryview, /) -> int:
        n = self._origin.readinto(view)
        self.bytes_read += n
        self.digest.update(view[:n])
        return n


class _Transcoder:
    """From another encoding to UTF-8. A byte that the encoding does not define becomes 0xFF, which is never UTF-8, so
    that the row holding it is reported."""

    def __init__(self, reader: Reader, encoding: str, block_bytes: int) -> None:
        self._reader, self._encoding = reader, encoding
        self._block = memoryview(bytearray(max(block_bytes, 16)))
        self._kept = 0  # bytes at the block's start that the last round left
        self._made = memoryview(b"")
        self._ended = False

    def readinto(self, view: memoryview, /) -> int:
        while not len(self._made):
            if self._ended:
                return 0
            n = self._reader.readinto(self._block[self._kept :])
            self._ended = not n
            data = self._block[: self._kept + n]
            if not len(data):
                return 0
            made, used = _native.transcode(data, self._encoding, self._ended)
            rest = bytes(data[used:])
            self._block[: len(rest)] = rest
            self._kept = len(rest)
            self._made = memoryview(made)
        part = self._made[: len(view)]
        view[: len(part)] = part
        self._made = self._made[len(part) :]
        return len(part)


class Source:
    """A source that is open. Made by ``open_source``; a context manager.

    name: the path as given, the file object's name, "<bytes>", "<stream>" or "<arrow>".
    path: absolute, where the source is a regular file that can be opened again; else None.
    size: bytes as stored (compressed, if it is), or None where that is not known beforehand.
    encoding: utf-8, utf-8-sig, utf-16-le, utf-16-be, cp1252 or latin-1. compression: "gzip", "zstd" or None.
    is_arrow, arrow: an object of the Arrow C data interface, given through unread; it has no bytes.
    """

    def __init__(
        self,
        origin: Origin | None,
        *,
        encoding: str | None,
        max_expansion: float,
        max_bytes: int | None,
        block_bytes: int,
        arrow: Any = None,
    ) -> None:
        self.arrow = arrow
        self.is_arrow = arrow is not None
        self.name = "<arrow>" if origin is None else origin.name
        self.path = None if origin is None else origin.path
        self.size = None if origin is None else origin.size
        self.encoding = "utf-8"
        self.compression: str | None = None
        self._origin = origin
        self._max_expansion, self._max_bytes, self._block_bytes = max_expansion, max_bytes, block_bytes
        self._counted: _Counted | None = None
        self._text: Peekable | None = None
        if origin is None:
            return
        if max_bytes is not None and origin.size is not None and origin.size > max_bytes:
            raise SourceError(f"{origin.name}: is {origin.size:,} bytes long, more than {max_bytes:,} (max_bytes)")
        text = self._open(origin)
        head = text.peek(SAMPLE)
        if encoding is not None and origin.text:
            if not encodings.lookup(encoding).startswith("utf-8"):
                raise SourceError(f"{origin.name}: encoding={encoding!r} is for bytes, but this source yields str")
            encoding = "utf-8"
        try:
            if encoding is not None:
                self.encoding = encodings.given(head, encoding)
            elif origin.text:
                self.encoding = encodings.given(head, "utf-8")
            else:
                more = [] if self.compression or len(head) < SAMPLE else origin.samples()
                self.encoding = encodings.decide(head, len(head) < SAMPLE, more)
        except SourceError as exc:
            raise SourceError(f"{origin.name}: {exc}") from exc
        self._decode(text)
        if not self._bytes().peek(1):
            raise SourceError(f"{origin.name}: is empty but for a byte order mark")

    def _open(self, origin: Origin) -> Peekable:
        self._counted = counted = _Counted(origin)
        text, self.compression = expand(
            Peekable(counted), origin.name, lambda: counted.bytes_read, self._max_expansion, self._max_bytes
        )
        return text

    def _decode(self, text: Peekable) -> None:
        text.skip(encodings.bom(text.peek(4), self.encoding))
        if encodings.map_bytes(self.encoding):
            text = Peekable(_Transcoder(text, self.encoding, self._block_bytes))
        self._text = text

    def _bytes(self) -> Peekable:
        if self._text is None:
            raise SourceError(
                f"{self.name}: is closed" if self._origin else f"{self.name}: an Arrow source has no bytes"
            )
        return self._text

    @property
    def bytes_read(self) -> int:
        """How many of ``size`` bytes were read so far."""
        return 0 if self._counted is None else self._counted.bytes_read

    @property
    def can_rewind(self) -> bool:
        """Whether ``rewind`` works."""
        return self._origin is not None and self._origin.can_rewind

    def peek(self, n: int = 65536) -> bytes:
        """The next ``n`` bytes of UTF-8 text (fewer only at the end) without taking them."""
        return self._bytes().peek(n)

    def readinto(self, view: memoryview) -> int:
        """Fills ``view`` with UTF-8 text, which a character may straddle; short only at the end, where it is 0 next.

        Raises SourceError when the source can't be read on, breaks off, expands too much or has changed meanwhile.
        """
        text, have = self._bytes(), 0
        while have < len(view):
            n = text.readinto(view[have:])
            if not n:
                break
            have += n
        return have

    def digest(self) -> bytes:
        """16 bytes that stand for all raw bytes read so far; zeros for Arrow."""
        return bytes(16) if self._counted is None else self._counted.digest.digest()

    def check_unchanged(self) -> None:
        """Raises SourceError when the file grew, shrank, was written to, replaced or removed since it was opened.

        The end of a file checks this by itself.
        """
        if self._origin is not None:
            self._origin.check_unchanged()

    def rewind(self) -> None:
        """Back to the beginning. Raises SourceError for a source that can be read only once."""
        if self._origin is None:
            raise SourceError(f"{self.name}: an Arrow stream can be read only once")
        self._bytes()
        self._origin.rewind()
        self._decode(self._open(self._origin))

    def close(self) -> None:
        """Closes what ``open_source`` opened (never a file object of the caller's). May be called twice."""
        self._text = None
        if self._origin is not None:
            self._origin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_source(
    source: object,
    *,
    encoding: str | None = None,
    max_expansion: float = 200,
    max_bytes: int | None = None,
    block_bytes: int = 4 << 20,
) -> Source:
    """Opens anything that leads can be imported from.

    source: a path; a binary or text file object; bytes; an iterable of bytes (blocks of any size) or str; an object of
    the Arrow PyCapsule interface (``__arrow_c_stream__`` or ``__arrow_c_array__``).
    encoding: None finds it out. max_expansion: how many times their size compressed data may expand to (what is below
    10 MiB always may). max_bytes: limit of the uncompressed text, None for none. block_bytes: how much is taken from a
    file object at a time.

    Raises SourceError for what cannot be read: missing, a directory, empty, no text, an unknown encoding.
    """
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        return Source(None, encoding=None, max_expansion=0, max_bytes=None, block_bytes=block_bytes, arrow=source)
    origin = origin_of(source, block_bytes)
    try:
        return Source(
            origin, encoding=encoding, max_expansion=max_expansion, max_bytes=max_bytes, block_bytes=block_bytes
        )
    except BaseException:
        origin.close()
        raise
