"""The same as ``queue_work`` with two processes; ours with one in the same turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import queues

from .queue_work import race

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_two"


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    race(SCENARIO, queues.contenders(options, results, SCENARIO), options, results, processes=(2, 1))
