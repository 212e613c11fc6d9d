"""Sorted runs of records, kept as blocks in memory or, past a budget, in a temporary file that nobody else can see.

Each block holds whole records in key order and is known by the key of its first record, so that a lane can start in the
middle of a run. Memory is bounded by the budget whatever the size of the source; the file has no name and vanishes with
the process. Blocks are read by ``pread``, so several threads may read one store.
"""

from __future__ import annotations

import os
import tempfile
import threading
from bisect import bisect_right
from typing import Self

import msgspec

from mailgenius._native import Records, Sorted, block_key
from mailgenius.errors import MailgeniusError

__all__ = ["BlockStore", "Run"]

BLOCK_BYTES = 256 << 10


class Block(msgspec.Struct, frozen=True):
    data: bytes | None  # None: in the file
    offset: int = 0
    size: int = 0


class Run:
    """One sorted run: its blocks and the first key of each."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.blocks: list[Block] = []

    def first_block(self, lo: bytes | None) -> int:
        """The first block that can hold a key above ``lo``."""
        return 0 if lo is None else max(0, bisect_right(self.keys, lo) - 1)


class BlockStore:
    """Takes records, sorts them, keeps them as runs."""

    def __init__(self, memory_bytes: int, temp_dir: str | None = None) -> None:
        self.runs: list[Run] = []
        self.spilled_bytes = 0
        self._room = memory_bytes
        self._temp_dir = temp_dir
        self._fd: int | None = None
        self._lock = threading.Lock()

    def add(self, records: Records) -> None:
        """Sorts ``records`` and keeps a copy of them as one run. Any thread may call this."""
        if not records.count:
            return
        run = Run()
        ordered = Sorted(records)
        while (data := ordered.next_block(BLOCK_BYTES)) is not None:
            run.keys.append(block_key(data))
            run.blocks.append(self._keep(data))
        with self._lock:
            self.runs.append(run)

    def read(self, block: Block) -> bytes:
        if block.data is not None:
            return block.data
        assert self._fd is not None  # noqa: S101 - a block without data was written to the file
        data = os.pread(self._fd, block.size, block.offset)
        if len(data) != block.size:
            raise MailgeniusError("the temporary file of the import was cut short: is something cleaning up temp_dir?")
        return data

    def close(self) -> None:
        with self._lock:
            self.runs.clear()
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _keep(self, data: bytes) -> Block:
        with self._lock:
            if self._room >= len(data):
                self._room -= len(data)
                return Block(data)
            if self._fd is None:
                self._fd = self._open()
            offset = self.spilled_bytes
            self.spilled_bytes += len(data)
            fd = self._fd
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(fd, view, offset + len(data) - len(view))
                view = view[written:]
        except OSError as error:
            raise MailgeniusError(
                f"cannot write the import's temporary file in {self._temp_dir or tempfile.gettempdir()}: "
                f"{error.strerror}. Nothing was imported. Free some space, or set importer.temp_dir to a folder that "
                f"has it (needed so far: {self.spilled_bytes:,} bytes)"
            ) from error
        return Block(None, offset, len(data))

    def _open(self) -> int:
        fd, name = tempfile.mkstemp(prefix="mailgenius-import-", dir=self._temp_dir)
        os.unlink(name)  # noqa: PTH108
        return fd
