"""Lead records as encode.c makes them, made and read in Python, and a driver for Merge."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mailgenius._native import Chunk, Merge, Sorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FIELDS = 12  # e-mail first
NULLS: tuple[bytes | None, ...] = (None,) * (FIELDS - 1)


def field(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else struct.pack(">i", len(value)) + value


def record(email: bytes, line: int, rest: Sequence[bytes | None] = NULLS) -> bytes:
    body = field(email) + b"".join(map(field, rest))
    return struct.pack("=IQ", 12 + len(body), line) + body


def records(rows: Iterable[tuple[bytes, int]]) -> bytes:
    return b"".join(record(email, line) for email, line in rows)


def parse(data: bytes) -> list[tuple[bytes, int]]:
    found, at = [], 0
    while at < len(data):
        size, line, key = struct.unpack_from("=IQ", data, at) + struct.unpack_from(">i", data, at + 12)
        found.append((data[at + 16 : at + 16 + key], line))
        at += size
    return found


def blocks(ordered: Sorted, size: int = 262144) -> Iterator[bytes]:
    while (block := ordered.next_block(size)) is not None:
        yield block


def merge(
    inputs: Sequence[Iterable[bytes]],
    lo: bytes | None = None,
    hi: bytes | None = None,
    max_records: int = 50000,
    max_bytes: int = 1 << 25,
) -> Iterator[Chunk]:
    """Yields the same Chunk each time, filled anew."""
    merged, chunk = Merge(len(inputs), lo, hi), Chunk()
    feeds = [iter(blocks_) for blocks_ in inputs]
    while True:
        answer = merged.next(chunk, max_records, max_bytes)
        if answer >= 0:
            merged.feed(answer, next(feeds[answer], None))
            continue
        if answer == -2 or len(chunk):
            yield chunk
        if answer == -1:
            return
        chunk.clear()
