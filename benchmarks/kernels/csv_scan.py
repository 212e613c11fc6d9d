"""How fast the CSV kernel reads lead files held in memory, beside a plain copy and a count of newlines in the same run.

Two files of at least 64 MB: leads as they come (a tenth of the rows hold a quoted field), and the same with all fields
quoted. ``structure`` finds and counts records and fields and checks every quote; ``scan`` hands out every field of every
row. Median of five runs each, one thread. The files lie in huge pages, if the system gives any: with 4 KiB pages, memory is
slower than the scan. ``structure_cached`` reads one window again and again: what the processor can do.

    python -m benchmarks.kernels.csv_scan
"""

from __future__ import annotations

import csv
import io
import mmap
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data as leads
from mailgenius import _native
from mailgenius._native import Batch, CsvScanner, csv_structure

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 64 << 20
WINDOW = 1 << 20  # what a source hands the scanner at once: its rows stay in the second-level cache
RUNS = 5


def sample() -> tuple[bytes, bytes]:
    """(ordinary, every field quoted) rows of leads, each at least SIZE bytes."""
    pieces = []
    for raw, _ in leads.stream_leads(50_000, lambda _facts: None):
        pieces.append(raw)
    plain = b"".join(pieces).split(b"\n", 1)[1]
    out = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(plain.decode(), newline=""))
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    quoted = out.getvalue().encode()
    return plain * (SIZE // len(plain) + 1), quoted * (SIZE // len(quoted) + 1)


def in_memory(data: bytes) -> mmap.mmap:
    """A copy of data in huge pages."""
    area = mmap.mmap(-1, len(data))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    area[:] = data
    return area


def scan_all(data: mmap.mmap) -> int:
    scanner, batch, at, rows = CsvScanner(), Batch(), 0, 0
    while at < len(data):
        end = min(at + WINDOW, len(data))
        at += scanner.scan(batch, data, at, end, end == len(data))
        rows += len(batch)
    return rows


def rate(size: int, run: Callable[[], object]) -> float:
    """GB/s (10^9 bytes) of the median run."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return size / statistics.median(times) / 1e9


def measure() -> dict[str, float]:
    """GB/s by name: ``structure.<isa>``, ``structure_plain.<isa>``, ``structure_cached.<isa>``, ``scan.<isa>``,
    ``scan_quoted.<isa>``, ``memcpy``, ``newlines``. The first is the one with a target: quoted data, quotes checked."""
    ordinary, all_quoted = sample()
    plain, quoted = in_memory(ordinary), in_memory(all_quoted)
    size, window = len(all_quoted), all_quoted[:WINDOW]
    target = np.frombuffer(in_memory(bytes(size)), dtype=np.uint8)
    source = np.frombuffer(quoted, dtype=np.uint8)
    result = {
        "memcpy": rate(size, lambda: np.copyto(target, source)),
        "newlines": rate(size, lambda: all_quoted.count(b"\n")),
    }
    before = _native.isa()
    try:
        for isa in _native.isas():
            _native.force_isa(isa)
            result[f"structure.{isa}"] = rate(size, lambda: csv_structure(quoted))
            result[f"structure_plain.{isa}"] = rate(len(ordinary), lambda: csv_structure(plain))
            result[f"structure_cached.{isa}"] = rate(64 * WINDOW, lambda: [csv_structure(window) for _ in range(64)])
            result[f"scan.{isa}"] = rate(len(ordinary), lambda: scan_all(plain))
            result[f"scan_quoted.{isa}"] = rate(size, lambda: scan_all(quoted))
    finally:
        _native.force_isa(before)
    return result


def main() -> None:
    for name, value in measure().items():
        print(f"{name:24} {value:6.2f} GB/s")


if __name__ == "__main__":
    main()
