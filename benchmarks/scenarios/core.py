"""Bytes to checked, encoded, deduplicated leads in memory: no database and no file.

Bytes stand in memory when the clock starts, polars' too. One thread and two: the scanner is shared under a lock (a
quote may be open at the end of a block, so blocks cannot be scanned apart), encoding is not.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from mailgenius import EmailSet, _native
from mailgenius._native import Batch, CsvScanner, Plan, Records

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

# lead fields of HEADER's columns, as numbers of mg_lead_field; -1 attribute
TARGETS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, -1, -1]
ROWS_A_BATCH = 4096


def plan() -> Plan:
    names = data.HEADER.split(",")
    return Plan(TARGETS, [1000] * len(TARGETS), names)


def encode_all(text: bytes, threads: int) -> tuple[float, int, list[Records]]:
    """Seconds, rows and the records."""
    scanner, lock = CsvScanner(), threading.Lock()
    at = text.index(b"\n") + 1
    rows = 0
    shared = plan()
    kept: list[list[Records]] = [[] for _ in range(threads)]

    def work(which: int) -> None:
        nonlocal at, rows
        batch, records = Batch(), Records()
        kept[which].append(records)
        while True:
            with lock:
                if at >= len(text):
                    return
                at += scanner.scan(batch, text, at, len(text), True, ROWS_A_BATCH)
                rows += len(batch)
            records.encode(shared, batch)
            records.take_problems()
            if records.nbytes > 48 << 20:
                records = Records()
                kept[which].append(records)

    began = time.perf_counter()
    crew = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    return time.perf_counter() - began, rows, [r for some in kept for r in some]


POLARS = """
import sys, time, polars as pl
text = open(sys.argv[1], "rb").read()
began = time.perf_counter()
frame = pl.read_csv(text, infer_schema=False, truncate_ragged_lines=True)
print(frame.height / (time.perf_counter() - began), pl.thread_pool_size())
"""


def polars_rate(path: str, threads: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", POLARS, path],
        env={"POLARS_MAX_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    rate, used = done.stdout.split()
    assert int(used) == threads
    return float(rate)


def measure(_room: Room | None, options: Options, results: Results) -> None:
    leads = data.dataset(options.rows)
    text = leads.raw.read_bytes()
    command = options.command("core")
    options.say(f"core: {options.rows:,} rows in memory")
    rates: dict[str, list[float]] = {}
    emails = [line.split(b"\t", 2)[1] for line in leads.clean.read_bytes().splitlines()]
    offsets, addresses = np.cumsum([0, *map(len, emails)], dtype=np.int64), b"".join(emails)
    del emails

    def note(name: str, value: float) -> None:
        rates.setdefault(name, []).append(value)

    chosen = _native.isa()
    made: list[Records] = []
    for _ in range(options.runs):
        for threads in (1, 2):
            made.clear()
            encode_all(text, threads)  # fresh memory is slow to touch, in a virtual machine above all: have it at hand
            seconds, rows, made = encode_all(text, threads)
            assert rows == leads.facts.rows
            note(f"core/rows per second, {threads} thread{'s' * (threads > 1)}", rows / seconds)
            if options.peers:
                name = f"core/polars read_csv, {threads} thread{'s' * (threads > 1)}"
                note(name, polars_rate(str(leads.raw), threads))
        if hasattr(_native, "Sorted"):
            note("core/sort", sort_all(made))
        made.clear()
        unique = dedupe(offsets, addresses) / leads.facts.rows * 1e9
        note("core/dedupe, ns a row", unique)
        for isa in _native.isas():
            _native.force_isa(isa)
            try:
                batch = fused(text, leads.facts.rows)
            finally:
                _native.force_isa(chosen)
            note(f"core/scan, check and encode, ns a row, {isa}", batch)
            note(f"core/ns a row, {isa}", batch + unique)
    for name, runs in sorted(rates.items()):
        unit = "s" if name == "core/sort" else "ns" if "ns a row" in name else "rows/s"
        value = results.put(name, runs, unit, command=command)
        options.say(f"  {name:<44}{value:16,.1f} {unit}")


def sort_all(made: list[Records]) -> float:
    """Processor seconds to put all runs in order and write them as blocks."""
    began = time.process_time()
    for records in made:
        piece = _native.Sorted(records)
        while piece.next_block() is not None:
            pass
    return time.process_time() - began


def dedupe(offsets: np.ndarray[Any, Any], addresses: bytes) -> float:
    """Processor seconds to put all addresses into an exact set, batch by batch."""
    seen = EmailSet(0)
    began = time.thread_time()
    for at in range(0, len(offsets) - 1, 1024):
        seen.add_many((offsets[at : at + 1025], addresses))
    seconds = time.thread_time() - began
    assert len(seen) == len(offsets) - 1
    return seconds


def fused(text: bytes, rows: int) -> float:
    """Processor ns a row: scan, check, encode into records that stay in the cache, problems with row and column."""
    scanner, batch, records, shared = CsvScanner(), Batch(), Records(), plan()
    at = text.index(b"\n") + 1
    began = time.thread_time()
    while at < len(text):
        at += scanner.scan(batch, text, at, len(text), True, 1024)
        records.encode(shared, batch)
        records.take_problems()
        records.clear()
    return (time.thread_time() - began) / rows * 1e9
