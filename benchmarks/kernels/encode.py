"""Rows to records: nanoseconds a row to scan and encode realistic leads (12 columns, two of them unknown), in memory.

``fused``: one thread scans a batch, then encodes it into records that stay in the cache. Two threads share the scanner
under a lock and encode outside of it, as the importer does. ``polars read_csv`` reads the same bytes, without
checking or encoding anything, on one thread of a process of its own.

One thread is measured in processor time, which other work on the machine does not prolong; two threads can only be
measured by the clock, and stand beside one thread's time by the clock.

    python -m benchmarks.kernels.encode [rows]
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from benchmarks import data
from mailgenius import _native

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 200_000
RUNS = 5
BATCH = 2048
TARGETS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, _native.ATTRIBUTE, _native.ATTRIBUTE]
POLARS = """
import sys, time
import polars
text = sys.stdin.buffer.read()
best = []
for _ in range(int(sys.argv[1])):
    began = time.process_time()
    rows = polars.read_csv(text, infer_schema=False, truncate_ragged_lines=True).height
    best.append((time.process_time() - began) / rows * 1e9)
print(sorted(best)[len(best) // 2])
"""


def make_plan() -> _native.Plan:
    return _native.Plan(TARGETS, [1000] * len(TARGETS), data.HEADER.split(","))


def scan_only(text: bytes) -> int:
    scanner, batch = _native.CsvScanner(), _native.Batch()
    at = rows = 0
    while at < len(text):
        at += scanner.scan(batch, text, at, len(text), True, BATCH)
        rows += len(batch)
    return rows


def fused(text: bytes, threads: int = 1) -> int:
    scanner, lock, plan = _native.CsvScanner(), threading.Lock(), make_plan()
    at = rows = 0

    def work() -> None:
        nonlocal at, rows
        batch, records = _native.Batch(), _native.Records()
        while True:
            with lock:
                if at >= len(text):
                    return
                at += scanner.scan(batch, text, at, len(text), True, BATCH)
                rows += len(batch)
            records.encode(plan, batch)
            records.take_problems()
            records.clear()

    crew = [threading.Thread(target=work) for _ in range(threads - 1)]
    for thread in crew:
        thread.start()
    work()
    for thread in crew:
        thread.join()
    return rows


def encode_only(text: bytes) -> float:
    """ns a row for encoding alone: one batch, again and again."""
    scanner, batch, records, plan = _native.CsvScanner(), _native.Batch(), _native.Records(), make_plan()
    scanner.scan(batch, text, 0, len(text), True, BATCH)
    rounds = max(1, ROWS // max(1, len(batch)))
    began = time.process_time()
    for _ in range(rounds):
        records.encode(plan, batch)
        records.clear()
    return (time.process_time() - began) / (rounds * len(batch)) * 1e9


def median(what: Callable[[], int], clock: Callable[[], float] = time.process_time) -> float:
    """ns a row."""
    runs = []
    for _ in range(RUNS):
        began = clock()
        rows = what()
        runs.append((clock() - began) / rows * 1e9)
    return statistics.median(runs)


def polars(text: bytes) -> float:
    done = subprocess.run(
        [sys.executable, "-c", POLARS, str(RUNS)],
        input=text,
        env={"POLARS_MAX_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(done.stdout)


def measure(rows: int = ROWS) -> dict[str, float]:
    text = data.dataset(rows).raw.read_bytes()
    body = text[text.index(b"\n") + 1 :]
    found = {"bytes a row": len(body) / rows}
    before = _native.isa()
    try:
        for isa in _native.isas():
            _native.force_isa(isa)
            assert fused(body) == rows
            found[f"scan, {isa}, ns a row"] = median(lambda: scan_only(body))
            found[f"encode, {isa}, ns a row"] = statistics.median([encode_only(body) for _ in range(RUNS)])
            found[f"fused, {isa}, ns a row"] = median(lambda: fused(body))
            found[f"fused, {isa}, by the clock, ns a row"] = median(lambda: fused(body), time.perf_counter)
            found[f"fused, {isa}, 2 threads, by the clock, ns a row"] = median(
                lambda: fused(body, 2), time.perf_counter
            )
    finally:
        _native.force_isa(before)
    if importlib.util.find_spec("polars"):
        found["polars read_csv, 1 thread, ns a row"] = polars(text)
        found["polars read_csv / fused"] = (
            found["polars read_csv, 1 thread, ns a row"] / found[f"fused, {before}, ns a row"]
        )
    return found


if __name__ == "__main__":
    for name, value in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS).items():
        print(f"{name:<50}{value:10.1f}")
