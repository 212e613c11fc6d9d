"""The same as ``queue_work`` with a server 1 ms away (there and back), behind a proxy in C: ours and those in Node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import queues

from .queue_work import race

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_far"
ROUND_TRIP = 1000  # microseconds


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    ways = [way for way in queues.contenders(options, results, SCENARIO) if way.node or not way.package]
    race(SCENARIO, ways, options, results, distance=ROUND_TRIP)
