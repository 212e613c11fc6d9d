"""No-op jobs of 200 bytes worked off by one process. Each queue is filled, then its worker begins; the rate is that of the
last nine tenths. Each job must have been handled. Beside it, what the server's processor was busy for, its log included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import queues, report_queue

if TYPE_CHECKING:
    from benchmarks.peers.queues import Way
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_work"


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    race(SCENARIO, queues.contenders(options, results, SCENARIO), options, results)
    results.texts[SCENARIO] = [f"As set up: {report_queue.versions()}."]


def race(
    scenario: str,
    ways: list[Way],
    options: Options,
    results: Results,
    *,
    processes: tuple[int, ...] = (1,),
    distance: int = 0,
) -> None:
    """``processes``: more numbers than one are for ours alone, and told apart by it. ``distance``: microseconds from
    workers to the server and back."""
    rates: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    with queues.server() as (url, folder), queues.far(url, distance) as through:
        for turn in range(options.runs):
            for way in ways:
                for count in processes[: 1 if way.package else None]:
                    done = queues.work(way, url, folder, queues.jobs(way, options), count, through=through)
                    name = way.name if count == processes[0] else f"{way.name}, {count} process"
                    rates.setdefault(name, []).append(done.rate)
                    cpus.setdefault(name, []).append((done.added_cpu + done.worked_cpu) * 1e6)
            options.say(f"{scenario}: turn {turn + 1} of {options.runs}")
    command = options.command(scenario)
    for name in rates:
        results.put(f"{scenario}/{name}", rates[name], "/s", command=command)
        results.put(f"{scenario}/{name}: server", cpus[name], "µs", command=command)
