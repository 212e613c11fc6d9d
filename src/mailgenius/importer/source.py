"""Any source as one stream of UTF-8 bytes: paths, file objects, bytes, iterables. Arrow streams are passed on unread.

Layers, each reading from the one below:  raw bytes (counted, hashed) -> decompression -> encoding -> ``Source``.
Invariants: files are read, never mapped (a file that shrinks under a mapping kills the process); a file that changed
while it was read is an error at its end, so nothing of it is imported; what was read has a digest, so that ``resume``
can tell whether it reads the same again. One thread at a time may use a Source.
"""

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from isal import isal_zlib

from mailgenius import _native
from mailgenius.errors import SourceError
from mailgenius.importer import encoding as encodings
from mailgenius.importer.expand import Peekable, Reader, expand

SAMPLE: Final = 1 << 18  # bytes at the start of the text that decide on its encoding
SPOT: Final = 1 << 16  # bytes of each further sample of a file that can be read anywhere
SPOTS: Final = 64
WHOLE: Final = 1 << 24  # a file up to this size is sampled whole: a few milliseconds
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


class _Origin:
    """Where raw bytes come from. What stands here fits a source that can be read once and has nothing to tell."""

    name: str
    path: str | None = None
    size: int | None = None
    text: bool = False  # the source yields str: its encoding is known
    can_rewind: bool = False

    def readinto(self, view: memoryview, /) -> int:
        raise NotImplementedError

    def rewind(self) -> None:
        raise SourceError(f"{self.name}: this source can be read only once")

    def samples(self) -> list[bytes]:
        """Pieces of the raw bytes from further on, where that costs nothing; the whole where it is small."""
        return []

    def check_unchanged(self) -> None:
        """Raises SourceError if what is read is not what was opened."""

    def close(self) -> None:
        """Frees what was opened."""


def _spots(size: int) -> list[tuple[int, int]]:
    """Which (offset, length) of a file of this size to look at."""
    if size <= WHOLE:
        return [(0, size)]
    gap = (size - SPOT) // (SPOTS - 1)
    return [(i * gap, SPOT) for i in range(SPOTS)]


class _Path(_Origin):
    """A file of the file system: a regular file, or a pipe or device that can be read only once."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._file = io.FileIO(path, "rb")
        except FileNotFoundError as exc:
            hint = "; to import text itself, give it as bytes" if "\n" in path or "," in path else ""
            raise SourceError(f"{path[:200]!r} does not exist{hint}") from exc
        except IsADirectoryError as exc:
            raise SourceError(f"{path!r} is a directory; give one of its files") from exc
        except PermissionError as exc:
            raise SourceError(f"{path!r} may not be read by this user ({exc.strerror})") from exc
        except (OSError, ValueError) as exc:
            hint = "; to import text itself, give it as bytes" if "\n" in path else ""
            raise SourceError(
                f"{path[:200]!r} cannot be opened: {getattr(exc, 'strerror', None) or exc}{hint}"
            ) from exc
        self._at_start = os.fstat(self._file.fileno())
        self._read = 0
        regular = stat.S_ISREG(self._at_start.st_mode)
        self.path = str(Path(path).absolute()) if regular else None
        # Files of /proc and the like say 0 and are not empty: what they say is not their size.
        self.size = (self._at_start.st_size or None) if regular else None
        self.can_rewind = regular
        if regular:
            with contextlib.suppress(OSError, AttributeError):
                os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def readinto(self, view: memoryview, /) -> int:
        try:
            n = self._file.readinto(view)
        except (OSError, ValueError) as exc:
            raise SourceError(f"{self.name!r} cannot be read on after {self._read:,} bytes: {exc}") from exc
        if n is None:
            raise SourceError(f"{self.name!r} is in non-blocking mode; give a source that waits for its data")
        self._read += n
        if not n:
            self.check_unchanged()
        return n

    def rewind(self) -> None:
        if not self.can_rewind:
            super().rewind()
        self.check_unchanged()
        self._file.seek(0)
        self._read = 0

    def samples(self) -> list[bytes]:
        if self.size is None:
            return []
        with contextlib.suppress(OSError):  # the read proper will say what is wrong
            return [os.pread(self._file.fileno(), n, at) for at, n in _spots(self.size)]
        return []

    def check_unchanged(self) -> None:
        if self.path is None:
            return
        was = self._at_start
        try:
            here, there = os.fstat(self._file.fileno()), os.stat(self.path)  # noqa: PTH116
        except ValueError:
            return  # closed
        except OSError as exc:
            raise SourceError(f"{self.name!r} was removed while it was read; nothing was imported") from exc
        if (there.st_ino, there.st_dev) != (was.st_ino, was.st_dev):
            change = "was replaced by another file"
        elif here.st_size > was.st_size:
            change = f"grew from {was.st_size:,} to {here.st_size:,} bytes"
        elif here.st_size < was.st_size:
            change = f"shrank from {was.st_size:,} to {here.st_size:,} bytes"
        elif here.st_mtime_ns != was.st_mtime_ns:
            change = "was written to"
        else:
            return
        raise SourceError(f"{self.name!r} {change} while it was read; import it again once it is complete")

    def close(self) -> None:
        self._file.close()


class _Bytes(_Origin):
    name = "<bytes>"
    can_rewind = True

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self.size = len(self._data)
        self._at = 0

    def readinto(self, view: memoryview, /) -> int:
        part = self._data[self._at : self._at + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def rewind(self) -> None:
        self._at = 0

    def samples(self) -> list[bytes]:
        return [bytes(self._data[at : at + n]) for at, n in _spots(len(self._data))]

    def close(self) -> None:
        self._data.release()


class _Blocks(_Origin):
    """Bytes-like (or str) blocks of any size, one after the other."""

    def __init__(self, blocks: Iterator[Any], name: str) -> None:
        self.name = name
        self._blocks = blocks
        self._rest = memoryview(b"")
        self._index = 0
        self._first: type[str] | type[bytes] | None = None
        self._rest = self._next() or memoryview(b"")
        self.text = self._first is str

    def _next(self) -> memoryview | None:
        """The next block that is not empty."""
        while True:
            try:
                block = next(self._blocks)
            except StopIteration:
                return None
            except (OSError, EOFError) as exc:
                raise SourceError(f"{self.name}: reading failed at block {self._index}: {exc}") from exc
            index, self._index = self._index, self._index + 1
            kind = str if isinstance(block, str) else bytes
            if not isinstance(block, str | bytes | bytearray | memoryview):
                raise SourceError(
                    f"{self.name}: item {index} is of type {type(block).__name__}; an iterable source yields bytes "
                    "(blocks of a file, in order, of any size) or str"
                )
            if self._first not in (None, kind):
                raise SourceError(f"{self.name}: item {index} is {kind.__name__}, the items before it were not")
            self._first = kind
            if isinstance(block, str):
                # Half a surrogate pair has no UTF-8: its bytes stay invalid, and the row that holds it is reported.
                block = block.encode("utf-8", "surrogatepass")
            if len(block):
                return memoryview(block).cast("B")

    def readinto(self, view: memoryview, /) -> int:
        if not len(self._rest):
            self._rest = self._next() or memoryview(b"")
        part = self._rest[: len(view)]
        view[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)

    def close(self) -> None:
        self._rest = memoryview(b"")


class _File(_Blocks):
    """A file object of the caller's, binary or text; read from where it stands, and left open."""

    def __init__(self, file: Any, block_bytes: int) -> None:
        self._file = file
        self._block_bytes = block_bytes
        self._start: int | None = None
        given = getattr(file, "name", None)
        self._stat: os.stat_result | None = None
        with contextlib.suppress(Exception):
            if file.seekable():
                self._start = file.tell()
        with contextlib.suppress(Exception):
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and self._start is not None:
                self._stat = found
        super().__init__(self._read(), given if isinstance(given, str) and given else "<stream>")
        self.can_rewind = self._start is not None
        if self._stat is not None and not self.text and self._start is not None:
            self.size = max(self._stat.st_size - self._start, 0)

    def _read(self) -> Iterator[Any]:
        while True:
            try:
                block = self._file.read(self._block_bytes)
            except UnicodeDecodeError as exc:
                raise SourceError(
                    f"{self.name}: the text file object could not decode its data ({exc}); open the file in binary mode"
                ) from exc
            except ValueError as exc:  # closed
                raise SourceError(f"{self.name}: reading failed: {exc}") from exc
            if block is None:
                raise SourceError(f"{self.name} is in non-blocking mode; give a source that waits for its data")
            if hasattr(block, "__await__"):
                if hasattr(block, "close"):
                    block.close()
                raise SourceError(
                    f"{self.name}: read() is asynchronous; give the file object behind it (such as upload.file)"
                )
            if isinstance(block, str | bytes | bytearray | memoryview) and not len(block):
                self.check_unchanged()
                return
            yield block

    def rewind(self) -> None:
        if self._start is None:
            super().rewind()
        self.check_unchanged()
        self._file.seek(self._start)
        self._blocks = self._read()
        self._rest = memoryview(b"")
        self._index = 0

    def check_unchanged(self) -> None:
        if self._stat is None:
            return
        try:
            now = os.fstat(self._file.fileno())
        except (OSError, ValueError):
            return
        if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            raise SourceError(f"{self.name} changed while it was read; import it again once it is complete")


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
        origin: _Origin | None,
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

    def _open(self, origin: _Origin) -> Peekable:
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


def _origin(source: object, block_bytes: int) -> _Origin:
    if isinstance(source, str | os.PathLike):
        return _Path(os.fsdecode(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _Bytes(source)
    if callable(getattr(source, "read", None)):
        return _File(source, block_bytes)
    if isinstance(source, Mapping):
        raise SourceError(
            "a mapping is no source; give a path, a file object, bytes, blocks of bytes or an Arrow table"
        )
    if isinstance(source, Iterable):
        return _Blocks(iter(source), "<stream>")
    if hasattr(source, "__aiter__"):
        raise SourceError("an asynchronous iterable is no source; collect it, or write it to a file first")
    raise SourceError(
        f"{type(source).__name__} is no source; give a path, a file object, bytes, an iterable of bytes, or an Arrow "
        "table or stream"
    )


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
    origin = _origin(source, block_bytes)
    try:
        return Source(
            origin, encoding=encoding, max_expansion=max_expansion, max_bytes=max_bytes, block_bytes=block_bytes
        )
    except BaseException:
        origin.close()
        raise
