"""Adding jobs of 200 bytes: one by one, 100 callers at once, and in bulk where a queue can. A process for each run, in
turns, on one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import queues
from benchmarks.peers.queues import OURS

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_add"
HOWS = {"one": "one caller", "crowd": "100 callers", "many": "in bulk"}
ONE_BY_ONE, CROWD = 20_000, 200_000  # of ours


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    found: dict[str, list[float]] = {}
    with queues.server() as (url, _):
        ways = queues.contenders(options, results, SCENARIO)
        for turn in range(options.runs):
            for way in ways:
                for how, title in HOWS.items():
                    if how == "many" and not way.bulk:
                        continue
                    jobs = queues.jobs(way, options)
                    if how != "many":
                        jobs = min(jobs, CROWD if how == "crowd" and way is OURS else ONE_BY_ONE)
                    queues.clear(url)
                    took = queues.add(way, url, how, jobs)["seconds"]
                    found.setdefault(f"{title}, {way.name}", []).append((jobs - 1) / took)
            options.say(f"{SCENARIO}: turn {turn + 1} of {options.runs}")
    for name, rates in found.items():
        results.put(f"{SCENARIO}/{name}", rates, "/s", command=options.command(SCENARIO))
