"""``Sink``: where an export goes, a path or a binary file object, compressed or not.

A path holds either what it held before or the whole export: it is written under another name beside it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from pathlib import Path
from typing import IO, Any

import zstandard

from mailgenius.errors import ConfigError

COMPRESSIONS = (None, "gzip", "zstd")


class Sink:
    def __init__(self, to: str | os.PathLike[str] | IO[bytes], compress: str | None) -> None:
        if compress not in COMPRESSIONS:
            raise ConfigError(f"compress: {compress!r} is none of None, gzip, zstd")
        if isinstance(to, io.TextIOBase):
            raise ConfigError("to: is a text file; open it in binary mode")
        self._path: Path | None = None
        if isinstance(to, str | os.PathLike):
            self._path = Path(to)
            self._part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
            self._file: IO[bytes] = self._part.open("wb")
        elif hasattr(to, "write"):
            self._file = to
        else:
            raise ConfigError(f"to: expected a path or a binary file object, got {type(to).__name__}")
        self._out: Any = self._file
        if compress == "gzip":
            self._out = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6, mtime=0)
        elif compress == "zstd":
            self._out = zstandard.ZstdCompressor().stream_writer(self._file, closefd=False)

    def write(self, data: bytes) -> None:
        self._out.write(data)

    def finish(self) -> None:
        """All of it was written."""
        if self._out is not self._file:
            self._out.close()
        if self._path is not None:
            self._file.close()
            self._part.replace(self._path)

    def abandon(self) -> None:
        """Something went wrong: the path is as it was; a file object keeps what it got."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)
