"""What a queue is to the server: how long its scripts take, and what a waiting job of 200 bytes takes. Memory is measured
on a redis-server with jemalloc where there is one (``queues.with_jemalloc``), as embedded ones count by libc's malloc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import queues
from benchmarks.peers.queues import OURS
from mailgenius import Redis

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_server"


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    command = options.command(SCENARIO)
    took: dict[str, list[float]] = {"add": [], "take and done": []}
    with queues.server() as (url, folder), Redis(url) as redis:
        for _ in range(options.runs):
            redis.call("CONFIG", "RESETSTAT")

            def filled(_: Redis) -> None:
                took["add"].append(queues.script_p99(redis))
                redis.call("CONFIG", "RESETSTAT")

            queues.work(OURS, url, folder, queues.jobs(OURS, options), before=filled)
            took["take and done"].append(queues.script_p99(redis))
        options.say(f"{SCENARIO}: scripts")
    for what, values in took.items():
        results.put(f"{SCENARIO}/p99 of scripts that {what}", values, "ms", command=command)
    with queues.server(queues.with_jemalloc()) as (url, _), Redis(url) as redis:
        allocator = queues.info(redis, "memory")["mem_allocator"]
        for way in queues.contenders(options, results, SCENARIO, threads=False):
            sizes = []
            for _ in range(options.runs if way is OURS else 1):
                queues.clear(url)
                before, jobs = queues.memory(redis), queues.jobs(way, options)
                queues.add(way, url, "many" if way.bulk else "crowd", jobs)
                sizes.append((queues.memory(redis) - before) / jobs)
            results.put(f"{SCENARIO}/a waiting job, {way.name}", sizes, "B", note=allocator, command=command)
            options.say(f"{SCENARIO}: memory of {way.name}")
