"""Our queue and two rivals while things go wrong: ``python -m benchmarks.queue_faults [NAME …]``; a table for the docs.

Each job that is handled is noted in a file at once. Jobs count as confirmed when the process that added them has ended
well.
Lost: confirmed, and not handled ``PATIENCE`` seconds after the last one that was; twice: handled more than once.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import msgspec

from benchmarks.peers import _node
from benchmarks.peers.queues import OURS, RIVALS, Way
from benchmarks.queues import ROOT, Records, _command, add
from mailgenius.servers import ValkeyServer, valkey
from tests.faults.proxy import FaultProxy, at

PATIENCE = float(os.environ.get("MG_PATIENCE", "100"))
RIVALS_HERE = ("BullMQ", "dramatiq")
FAULTS = 5
_never = threading.Event()


class Outcome(msgspec.Struct):
    confirmed: int
    lost: int
    twice: int
    after: float  # seconds after the last fault until the last job was handled
    exited: int  # workers that ended by themselves


class Trial:
    """Two workers of a contender, and what they did."""

    def __init__(self, way: Way, server: ValkeyServer, url: str, folder: Path) -> None:
        self.way, self.server, self.url, self.file = way, server, url, folder / "records"
        self.records, self.confirmed, self.faulted = Records(self.file), 0, monotonic()
        self.before = 0  # jobs handled when the last ones were added
        self.jobs = way.jobs // 4  # for each fault: about a second's work
        self.workers = [self.start() for _ in range(2)]

    def start(self) -> subprocess.Popen[bytes]:
        with open(f"{self.file}.log", "ab") as log:  # noqa: PTH123 - a name beside that of the file
            return subprocess.Popen(
                _command(self.way, "work", self.url, self.file, 1),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def add(self) -> None:
        count = self.jobs
        self.records.read()
        self.before = self.records.count
        add(self.way, self.server.url, "many" if self.way.bulk else "crowd", count, self.confirmed)
        self.confirmed += count

    def progress(self, more: int, seconds: float = 10.0) -> None:
        """Until so many more jobs are handled than when the last ones were added, or that takes too long."""
        aim, end = self.before + more, monotonic() + seconds
        while self.records.count < aim and monotonic() < end:
            _never.wait(0.001)
            self.records.read()

    def kill(self, which: int) -> None:
        self.workers[which].kill()
        self.workers[which].communicate()
        self.workers[which] = self.start()
        self.faulted = monotonic()

    def ends(self) -> Outcome:
        last, seen = monotonic(), -1
        while self.records.distinct() < self.confirmed and monotonic() - last < PATIENCE:
            _never.wait(0.1)
            self.records.read()
            if self.records.count != seen:
                seen, last = self.records.count, monotonic()
        distinct = self.records.distinct()
        newest = max((when for when, _ in self.records.parts), default=0.0)
        return Outcome(
            self.confirmed,
            self.confirmed - distinct,
            self.records.count - distinct,
            max(0.0, newest - self.faulted),
            sum(worker.poll() is not None for worker in self.workers),
        )


@contextlib.contextmanager
def trial(way: Way, *, fsync: str = "everysec", proxied: bool = False) -> Iterator[tuple[Trial, FaultProxy | None]]:
    settings = {"requirepass": "", "appendfsync": fsync}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(valkey(folder / "server", port=0, settings=settings))
        proxy = stack.enter_context(FaultProxy(at(server))) if proxied else None
        made = Trial(way, server, f"redis://127.0.0.1:{proxy.port}" if proxy else server.url, folder)
        try:
            yield made, proxy
        finally:
            for worker in made.workers:
                worker.kill()
                worker.communicate()


def killed(way: Way) -> Outcome:
    rng = random.Random(1)
    with trial(way) as (it, _):
        for turn in range(FAULTS):
            it.add()
            it.progress(rng.randrange(1, it.jobs))
            it.kill(turn % 2)
        return it.ends()


def cut(way: Way) -> Outcome:
    with trial(way) as (it, _):
        for _ in range(2 * FAULTS):
            it.add()
            half = monotonic() + 0.5
            it.progress(it.jobs // 2, 0.5)
            it.server.ask("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
            it.faulted = monotonic()
            _never.wait(max(0.0, half - monotonic()))
        return it.ends()


def silent(way: Way) -> Outcome:
    """Nothing gets through for 15 seconds, while workers wait for jobs."""
    with trial(way, proxied=True) as (it, proxy):
        assert proxy is not None
        it.jobs = 2000  # the proxy is slower than some
        it.add()
        it.progress(it.jobs)
        proxy.stall()
        it.add()
        _never.wait(15)
        proxy.cut()  # as routers do that have forgotten what was open
        proxy.mend()
        it.faulted = monotonic()
        return it.ends()


def restarted(way: Way) -> Outcome:
    rng = random.Random(2)
    with trial(way, fsync="always") as (it, _):
        for _ in range(FAULTS):
            it.add()
            it.progress(rng.randrange(1, it.jobs))
            it.server.kill()
            it.server.start()
            it.faulted = monotonic()
        return it.ends()


SCENARIOS: dict[str, Callable[[Way], Outcome]] = {
    f"a worker is killed, {FAULTS} times": killed,
    f"all connections are closed, {2 * FAULTS} times": cut,
    "the network is silent for 15 s": silent,
    f"Redis is killed, {FAULTS} times, `appendfsync always`": restarted,
}


def main(*names: str) -> None:
    if why := _node.missing():
        print(f"without those that run in node: {why}", file=sys.stderr)
    ways = [
        way for way in (OURS, *RIVALS) if way.name in (names or (OURS.name, *RIVALS_HERE)) and not (way.node and why)
    ]
    print("| what happens | | confirmed | lost | twice | all handled after | workers that exited |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for title, scenario in SCENARIOS.items():
        for way in ways:
            got = scenario(way)
            after = f"{got.after:.1f} s" if not got.lost else "–"
            print(
                f"| {title} | {way.name} | {got.confirmed:,} | {got.lost:,} | {got.twice:,} | {after} | {got.exited} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
