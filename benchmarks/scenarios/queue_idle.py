"""A worker without work: how long from before ``add`` to the beginning of the handler, in another process, for jobs that
come 10 to 30 ms apart; and what it asks the server for meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from benchmarks import queues
from benchmarks.peers.queues import OURS
from mailgenius import Redis

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.queues import Way
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_idle"
JOBS, OURS_JOBS = 100, 1000


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    command = options.command(SCENARIO)
    with queues.server() as (url, folder):
        for way in queues.contenders(options, results, SCENARIO):
            runs = options.runs if way.module.startswith(OURS.module) else 1
            jobs = OURS_JOBS if way.module.startswith(OURS.module) and not options.quick else JOBS
            found = [_idle(way, url, folder, jobs, 10.0 if way is OURS else 3.0) for _ in range(runs)]
            for n, (what, unit) in enumerate((("p50", "ms"), ("p99", "ms"), ("requests", "/s"))):
                results.put(f"{SCENARIO}/{way.name}: {what}", [run[n] for run in found], unit, command=command)
            options.say(f"{SCENARIO}: {way.name}")


def _idle(way: Way, url: str, folder: Path, jobs: int, seconds: float) -> tuple[float, float, float]:
    """Milliseconds, p50 and p99, and requests a second."""
    file = folder / "idle"
    file.unlink(missing_ok=True)
    queues.clear(url)
    records = queues.Records(file)
    with Redis(url) as redis, queues.workers(way, url, file, each=True):
        queues.add(way, url, "one", 1)
        records.wait(1)
        quiet = threading.Event()
        quiet.wait(1.0)  # it may have to be told that there is nothing more
        before = queues.requests(redis)
        quiet.wait(seconds)
        asked = (queues.requests(redis) - before - 1) / seconds
        added = queues.add(way, url, "drip", jobs + 1, first=1)["times"]  # the first is for the connection
        records.wait(jobs + 2)
    began = {numbers[0]: when for when, numbers in records.parts}
    took = sorted((began[n + 2] - at) * 1e3 for n, at in enumerate(added))
    return took[len(took) // 2], took[int(len(took) * 0.99)], asked
