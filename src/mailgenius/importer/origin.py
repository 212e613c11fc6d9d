"""Where raw bytes come from: a file, a pipe, bytes, blocks, a file object of the caller's.

Files are read, never mapped: a file that shrinks under a mapping kills the process. A file that changed while it was
read is an error at its end, so that nothing of it is imported. What the caller opened stays open.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mailgenius.errors import SourceError

__all__ = ["Origin", "origin_of"]

SPOT: Final = 1 << 16  # bytes of each further sample of a file that can be read anywhere
SPOTS: Final = 64
WHOLE: Final = 1 << 24  # a file up to this size is sampled whole: a few milliseconds


class Origin:
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


class _Path(Origin):
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


class _Bytes(Origin):
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


class _Blocks(Origin):
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


def origin_of(source: object, block_bytes: int) -> Origin:
    """Opens whatever bytes can be had from; SourceError where they cannot."""
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
