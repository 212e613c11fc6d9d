"""Workers in processes of their own, killed and replaced, and the oracle: what their journal says of all jobs.

``MG_FAULT_ROUNDS`` (10; 100 with ``make faults``) says how often each fault happens: ``rounds(2, 50)`` is twice with every
``make test`` and fifty times with ``make faults``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from mailgenius import Redis
from mailgenius.errors import RedisUnavailable
from mailgenius.queue import Queue, ShardedQueue

from .queue_child import NOTE, POLICY, QUEUE

ROOT = Path(__file__).parents[2]
SHARE = min(1.0, max(0, int(os.environ.get("MG_FAULT_ROUNDS", "10")) - 10) / 90)


def rounds(few: int, many: int) -> int:
    """How often a fault happens."""
    return round(few + (many - few) * SHARE)


_never = threading.Event()


def wait_until(true: Callable[[], Any], seconds: float = 30.0) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"it did not come about in {seconds:g} s"
        _never.wait(0.002)
    return time.monotonic() - began


class Told(msgspec.Struct, frozen=True):
    """What a journal says."""

    number: int
    attempts: int
    stalls: int
    pid: int


def read(path: Path) -> list[Told]:
    data = path.read_bytes() if path.exists() else b""
    return [Told(*fields) for fields in NOTE.iter_unpack(data[: len(data) // NOTE.size * NOTE.size])]


class Child:
    """A worker or producer. Its errors go to a file, so that it never waits for us."""

    def __init__(self, kind: str, url: str, journal: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "tests.faults.queue_child", kind, url, str(journal), *flags]
        with journal.with_suffix(".errors").open("ab") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=errors)
        self.pid = self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def ended(self, seconds: float = 30.0) -> int:
        return self.process.wait(seconds)

    def keeper(self) -> int | None:
        """The process beside a worker."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None


class Crowd:
    """``workers`` on the queue of a server, by way of ``url``. We ask the server ourselves by ``direct``."""

    def __init__(self, url: str, folder: Path, workers: int = 2, *flags: str, direct: str = "") -> None:
        self.url, self.flags = url, flags
        self.journal = folder / "journal"
        self.keys = folder / "journal.keys"
        self.keys.mkdir(exist_ok=True)
        self.redis = Redis(direct or url, offline_queue=100, timeout=10)
        self.queue: Queue | ShardedQueue = Queue(self.redis, QUEUE, policy=POLICY, timeout=30)
        for flag in flags:
            if flag.startswith("shards="):
                shards = int(flag.partition("=")[2])
                self.queue = ShardedQueue(self.redis, QUEUE, shards=shards, policy=POLICY, timeout=30)
        queues = [self.queue] if isinstance(self.queue, Queue) else self.queue.shards
        self.prefixes = [queue.prefix for queue in queues]
        self.dead: list[int] = []
        self.hit = 0  # jobs that were leased by workers when those were hit
        self.workers = [self.start() for _ in range(workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.signal(signal.SIGCONT)
            worker.kill()
        self.redis.close()

    def start(self, *flags: str) -> Child:
        return Child("worker", self.url, self.journal, *(flags or self.flags))

    def errors(self) -> str:
        path = self.journal.with_suffix(".errors")
        return path.read_text() if path.exists() else ""

    # -- what is known ---------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Records in the journal."""
        return self.journal.stat().st_size // NOTE.size if self.journal.exists() else 0

    def progress(self, more: int = 1, since: int | None = None) -> float:
        """Until so many more jobs have ended than now, or than ``since``; seconds that it took."""
        aim = (self.size() if since is None else since) + more
        return wait_until(lambda: self.size() >= aim)

    def leased(self, pid: int | None) -> int:
        """Jobs that a worker has, or those that nobody has any more (None) and that do not wait again yet."""
        count = 0
        leases = [
            lease for prefix in self.prefixes for lease in pairs(self.redis.call("HGETALL", prefix + "leased")).values()
        ]
        for value in leases:
            worker, _, _, first, stop, left = value.split(b" ", 5)
            mine = worker in (b"-", b"+") if pid is None else worker.split(b":")[1:2] == [b"%d" % pid]
            if mine:
                count += len(left) // 2 if left else int(stop) - int(first)
        return count

    def number(self, name: str) -> int:
        return sum(int(self.redis.call("HGET", prefix + "q", name) or 0) for prefix in self.prefixes)

    def is_empty(self) -> bool:
        for prefix in self.prefixes:
            try:
                waiting, active, delayed = self.redis.calls(
                    [("HGET", prefix + "q", "waiting"), ("HGET", prefix + "q", "active"), ("ZCARD", prefix + "delayed")]
                )
            except RedisUnavailable:
                return False
            if int(waiting or 0) or int(active or 0) or delayed:
                return False
        return True

    # -- what is done to them ----------------------------------------------------------------------------------------

    def kill(self, which: int, keeper: bool = False) -> float:
        """kill -9, and another one instead; seconds until all its jobs wait again, or are known to be done. ``keeper``: it
        is killed too."""
        victim = self.workers[which]
        victim.signal(signal.SIGSTOP)
        beside = victim.keeper()
        self.hit += self.leased(victim.pid)
        if keeper and beside is not None:
            os.kill(beside, signal.SIGKILL)
        victim.kill()
        began = time.monotonic()
        self.dead.append(victim.pid)
        self.workers[which] = self.start()
        wait_until(lambda: not self.leased(victim.pid) and not self.leased(None))
        return time.monotonic() - began

    # -- the oracle --------------------------------------------------------------------------------------------------

    def finish(self, seconds: float = 120.0) -> None:
        wait_until(self.is_empty, seconds)

    def verify(self, confirmed: set[int], duplicates: int) -> Counter[str]:
        """All that was confirmed has ended, nothing else, and at most so many twice. Nothing is left in Redis."""
        ended = Counter(told.number for told in read(self.journal))
        lost = confirmed - ended.keys()
        twice = sum(ended.values()) - len(ended)
        outcome = Counter(ended=len(ended), lost=len(lost), twice=twice, hit=self.hit, stalled=self.number("stalled"))
        print(dict(outcome))
        assert not lost, sorted(lost)[:20]
        assert twice <= duplicates
        self.nothing_left()
        return outcome

    def nothing_left(self) -> None:
        assert self.queue.counts().failed == 0, self.queue.page("failed").jobs[:3]
        for prefix in self.prefixes:
            assert self.redis.node_of(prefix + "q").call("KEYS", prefix + "c:*") == []
            for key in ("leased", "leases", "where", "finished", "jobs", "held"):
                assert self.redis.call("EXISTS", prefix + key) == 0, key


def pairs(reply: Any) -> dict[bytes, bytes]:
    """A hash, in RESP2 or RESP3."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


@contextmanager
def crowd(url: str, folder: Path, workers: int = 2, *flags: str, direct: str = "") -> Iterator[Crowd]:
    """Its workers' errors are shown if it fails."""
    with Crowd(url, folder, workers, *flags, direct=direct) as made:
        try:
            yield made
        except BaseException:
            print(made.errors()[-4000:])
            raise
