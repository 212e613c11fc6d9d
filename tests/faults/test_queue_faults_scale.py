"""Millions of jobs: whatever is asked of the queue, the server is never busy with one call for long."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailgenius import Redis
from mailgenius.queue import Policy, Queue
from mailgenius.servers import ValkeyServer, valkey
from tests.queue_hand_sync import Hand

pytestmark = [pytest.mark.scale, pytest.mark.alone, pytest.mark.timeout(1800)]
WAITING = int(os.environ.get("MG_QUEUE_WAITING", "2000000"))
OTHERS = WAITING // 20  # delayed, and as many failed
LONGEST, NEARLY_ALL = 5000, 1000  # microseconds
#: Of scripts: time includes all that they do.
BINS = re.compile(r"latency_percentiles_usec_(\w+).*?p99=([\d.]+)")


@contextmanager
def measured(server: ValkeyServer, what: str, slow: list[str]) -> Iterator[None]:
    server.ask("CONFIG", "RESETSTAT")
    server.ask("SLOWLOG", "RESET")
    yield
    longest = max((entry[2] for entry in server.ask("SLOWLOG", "GET", 100_000)), default=0)
    p99 = {name: float(value) for name, value in BINS.findall(server.ask("INFO", "latencystats"))}
    worst = p99.get("evalsha", 0.0)  # the first one, EVAL, compiles the script
    print(f"{what:10} p99 {worst:6.0f} µs, longest {longest:6} µs")
    if worst > NEARLY_ALL or longest > LONGEST:
        slow.append(f"{what}: p99 {worst:.0f} µs, longest {longest} µs")


def test_no_call_takes_long_however_many_jobs_there_are(fast_path: Path) -> None:
    settings = {"slowlog-log-slower-than": 500, "slowlog-max-len": 100_000, "appendfsync": "no"}
    with valkey(fast_path / "queue-scale", port=0, settings=settings) as server, Redis(server.url, timeout=30) as redis:
        queue = Queue(redis, "big", policy=Policy(keep_failed=-1), timeout=30)
        queue.configure()
        hand, slow = Hand(redis, "big"), list[str]()
        with measured(server, "add_many", slow):
            queue.add_many("n", range(OTHERS))
        while jobs := hand.lease(500):
            hand.failed(*jobs)
        for part in range(0, OTHERS, 100):
            queue._send_puts(
                [("5", 10**9, 0, "n", "", 0, "", 0, "keep", frame(queue, n)) for n in range(part, part + 100)]
            )
        queue.add_many("n", range(WAITING))
        counts = queue.counts()
        assert (counts.waiting, counts.delayed, counts.failed) == (WAITING, OTHERS, OTHERS)
        ids = list(queue.add_many("n", range(2000)))
        steps: dict[str, Callable[[], object]] = {
            "count": queue.counts,
            "page": lambda: [pages(queue, state) for state in ("waiting", "delayed", "failed")],
            "pause": lambda: (queue.pause(), queue.resume()),
            "add": lambda: [queue.add("n", n) for n in range(1000)],
            "work": lambda: [hand.done(*hand.lease(20)) for _ in range(100)],
            "remove": lambda: queue.remove(ids),
            "retry": lambda: queue.retry([job.id for job in queue.page("failed", 1000).jobs]),
            "clean": lambda: (queue.clean("failed"), queue.clean("delayed")),
            "drain": queue.drain,
        }
        for what, step in steps.items():
            with measured(server, what, slow):
                step()
        counts = queue.counts()
        assert (counts.waiting, counts.delayed, counts.failed) == (0, 0, 0)
        assert not slow


def frame(queue: Queue, number: int) -> bytes:
    return queue._head("n", None) + b"\xce" + number.to_bytes(4, "big")


def pages(queue: Queue, state: str, most: int = 50) -> None:
    after: str | None = None
    for _ in range(most):
        page = queue.page(state, 100, after=after)  # type: ignore[arg-type]
        after = page.after
        if after is None:
            return
