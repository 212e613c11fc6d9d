"""Records of a realistic file: sorting a run, cutting it into blocks, merging eight runs, COPY tuples out of chunks.

python -m benchmarks.kernels.sort
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import data
from mailgenius._native import Batch, Chunk, CsvScanner, Merge, Plan, Records, Sorted

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 2_000_000
RUN = 400_000  # records
INPUTS = 8
TIMES = 3
TARGETS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, -1, -1]  # of data.HEADER's columns
ALL = 0xFFF
# an int column in front, and what NULLs become
HEAD = b"\0\0\0\4\0\0\0\1"
EMPTY = b"\0\0\0\0"
DEFAULTS = [b"" if i < 7 else EMPTY for i in range(12)]


def runs(count: int, size: int) -> list[Records]:
    """`count` times `size` records, in the order of the file."""
    text = data.dataset(ROWS).raw.read_bytes()
    plan = Plan(TARGETS, [1000] * len(TARGETS), data.HEADER.split(","))
    scanner, batch = CsvScanner(), Batch()
    at = text.index(b"\n") + 1
    made = [Records()]
    while at < len(text):
        at += scanner.scan(batch, text, at, len(text), True, 4096)
        made[-1].encode(plan, batch)
        made[-1].take_problems()
        if made[-1].count >= size:
            if len(made) == count:
                break
            made.append(Records())
    return made


def cut(records: Records) -> list[bytes]:
    ordered = Sorted(records)
    found = []
    while (block := ordered.next_block()) is not None:
        found.append(block)
    return found


def merged(inputs: list[list[bytes]], use: Callable[[Chunk], object]) -> None:
    merge, chunk = Merge(len(inputs)), Chunk()
    feeds = [iter(blocks) for blocks in inputs]
    while (answer := merge.next(chunk)) != -1:
        if answer >= 0:
            merge.feed(answer, next(feeds[answer], None))
        else:
            use(chunk)
            chunk.clear()
    use(chunk)


def measure() -> dict[str, float]:
    [whole] = runs(1, RUN)
    count = whole.count
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for _ in range(TIMES):
        began = time.perf_counter()
        ordered = Sorted(whole)
        note("sort, ns a record", (time.perf_counter() - began) * 1e9 / count)
        began = time.perf_counter()
        while ordered.next_block() is not None:
            pass
        note("blocks, ns a record", (time.perf_counter() - began) * 1e9 / count)
    del whole, ordered

    made = runs(INPUTS, min(RUN, ROWS // INPUTS))
    inputs = [cut(records) for records in made]
    total = sum(records.count for records in made)
    del made
    for _ in range(TIMES):
        began = time.perf_counter()
        merged(inputs, len)
        note(f"merge of {INPUTS}, ns a record", (time.perf_counter() - began) * 1e9 / total)
        took: list[float] = []
        size: list[int] = []
        keys: list[float] = []

        def out(chunk: Chunk, took: list[float] = took, size: list[int] = size, keys: list[float] = keys) -> None:
            mask = bytes(len(chunk))
            start = time.perf_counter()
            size.append(sum(map(len, chunk.copy(mask, 0, ALL, HEAD, 1, DEFAULTS))))
            middle = time.perf_counter()
            chunk.keys()
            took.append(middle - start)
            keys.append(time.perf_counter() - middle)

        merged(inputs, out)
        note("copy, GB/s", sum(size) / sum(took) / 1e9)
        note("copy, ns a record", sum(took) * 1e9 / total)
        note("keys, ns a record", sum(keys) * 1e9 / total)
    return {name: median(values) for name, values in figures.items()}


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<40}{value:12,.2f}")
