"""EmailSet: insertions a second and bytes an address, beside a Python set.

    python -m benchmarks.kernels.seen

Addresses have 22 bytes on average; their domains are spread as in customers' files: one in three at the commonest, two
thousand in all. Every address is new, which costs the most.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from mailgenius import EmailSet

MANY = 10_000_000
FEW = 1_000_000
BATCH = 100_000
TIMES = 3
Array = np.ndarray[Any, Any]


def addresses(count: int) -> tuple[Array, bytes]:
    """(offsets, data)."""
    rng = np.random.default_rng(22)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", dtype=np.uint8)
    domains = np.zeros((2000, 12), dtype=np.uint8)
    domain_len = rng.integers(7, 13, 2000)
    for i, n in enumerate(domain_len.tolist()):
        domains[i, :n] = np.concatenate([letters[rng.integers(0, 26, n - 4)], np.frombuffer(b".com", dtype=np.uint8)])
    which = np.minimum(1 / rng.random(count) ** 0.8 - 1, 1999).astype(np.int64)
    local_len = rng.integers(8, 16, count)
    table = np.zeros((count, 28), dtype=np.uint8)
    table[:, :15] = letters[rng.integers(0, 36, (count, 15), dtype=np.uint8)]
    table[np.arange(28) >= local_len[:, None]] = 0
    table[np.arange(count), local_len] = ord("@")
    rows = np.arange(count)
    for j in range(12):
        table[rows, local_len + 1 + j] = domains[which, j]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(local_len + 1 + domain_len[which], out=offsets[1:])
    return offsets, table[table != 0].tobytes()


def fill(seen: EmailSet, offsets: Array, data: bytes) -> float:
    """Seconds."""
    began = time.perf_counter()
    for at in range(0, len(offsets) - 1, BATCH):
        seen.add_many((offsets[at : at + BATCH + 1], data))
    return time.perf_counter() - began


def measure() -> dict[str, float]:
    offsets, data = addresses(MANY)
    figures: dict[str, list[float]] = {"bytes of an address itself": [len(data) / MANY]}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for _ in range(TIMES):
        seen = EmailSet()
        note("inserts/s at 10M, growing", MANY / fill(seen, offsets, data))
        note("bytes an address at 10M, growing", seen.nbytes / len(seen))
        note("look-ups/s at 10M, all there", MANY / fill(seen, offsets, data))
        seen = EmailSet(MANY)
        note("inserts/s at 10M, expected", MANY / fill(seen, offsets, data))
        note("bytes an address at 10M, expected", seen.nbytes / len(seen))

    ends = offsets[: FEW + 1].tolist()
    text = data[: ends[-1]].decode()
    for _ in range(TIMES):
        few = [text[a:b] for a, b in pairwise(ends)]  # anew, because a str keeps its hash
        seen = EmailSet()
        began = time.perf_counter()
        for at in range(0, FEW, BATCH):
            seen.add_many(few[at : at + BATCH])
        note("inserts/s at 1M, from a list of str", FEW / (time.perf_counter() - began))
        note("bytes an address at 1M", seen.nbytes / len(seen))
        seen = EmailSet()
        began = time.perf_counter()
        for address in few:
            seen.add(address)
        note("inserts/s at 1M, one by one", FEW / (time.perf_counter() - began))
        known: set[str] = set()
        began = time.perf_counter()
        for at in range(0, FEW, BATCH):
            known.update(few[at : at + BATCH])
        note("inserts/s at 1M, Python set", FEW / (time.perf_counter() - began))
        note("bytes an address at 1M, Python set", (sys.getsizeof(known) + sum(map(sys.getsizeof, few))) / FEW)
    return {name: median(values) for name, values in figures.items()}


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<40}{value:16,.2f}")
