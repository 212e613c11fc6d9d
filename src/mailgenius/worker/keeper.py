"""The keeper: a small process beside a worker, which renews its leases however long a handler holds the interpreter, and
gives them back at once when the worker dies.

Started by keeping.py as ``python -m mailgenius.worker.keeper``. Its standard input brings one line, a JSON object, and ends
when the worker does; its standard output takes news, a JSON object a line, the first of each shard when it has begun: the
shard, tokens that were ``lost``, ids of jobs that are to be ``cancelled``. A thread keeps each shard, so that one whose
server is away keeps none of the others waiting. Leases and states of jobs are in memory that both share (memory.py). A
worker that is stopped (SIGSTOP) is not renewed: it does nothing, and others shall.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError
from mailgenius.link import Redis
from mailgenius.queue.names import keys
from mailgenius.queue.scripts import script
from mailgenius.worker.memory import SharedStates, size_of

__all__ = ["Keeper", "main"]

_OFTEN = 2.0  # seconds between two beats at most, so that cancelled jobs are heard of
_AGAIN = 0.25  # seconds between two tries while Redis is away
_saying = threading.Lock()


class Keeper:
    """Of one shard. ``order``: url, settings, shards (what their keys begin with), worker, pid, lease (seconds), slots,
    clock."""

    def __init__(self, order: dict[str, Any], shard: int, redis: Redis, memory: memoryview) -> None:
        self._shard = shard
        self._beat, self._back = redis.script(script("beat")), redis.script(script("back"))
        self._keys = keys(order["shards"][shard])
        self._worker, self._pid, self._clock = order["worker"], order["pid"], order["clock"]
        self._lease: float = order["lease"]
        size = size_of(order["slots"])
        self._memory = SharedStates(memory[size * shard : size * (shard + 1)], order["slots"])
        self._renewed = time.monotonic()
        self._missing: set[bytes] = set()  # tokens that the server did not know the last time

    def run(self, life: list[int]) -> None:
        """Until the worker has ended, which is when one of these can be read."""
        every = min(self._lease / 3, _OFTEN)
        wait = 0.0
        while not select.select(life, [], [], wait)[0]:
            if _stopped(self._pid):
                wait = 0.1
                continue
            try:
                self._renew()
                if not wait:
                    self._say([], [])  # that it is there
                wait = _AGAIN if self._missing else every
            except MailgeniusError:
                wait = min(every, _AGAIN)
        self._give_back()

    def _renew(self) -> None:
        tokens = self._memory.tokens()
        if not tokens:
            self._renewed, self._missing = time.monotonic(), set()
            return
        began = time.monotonic()
        _, lost, cancelled = self._beat(
            self._keys, (self._clock, self._worker, round(self._lease * 1000), *tokens), timeout=self._lease / 3
        )
        self._renewed = began
        # One that the worker still has the next time was not done with meanwhile.
        told, self._missing = [token.decode() for token in lost if token in self._missing], set(lost)
        if told or cancelled:
            self._say(told, [id.decode() for id in cancelled])

    def _say(self, lost: list[str], cancelled: list[str]) -> None:
        with contextlib.suppress(BrokenPipeError):
            line = json.dumps({"shard": self._shard, "lost": lost, "cancelled": cancelled}).encode() + b"\n"
            with _saying:
                os.write(1, line)

    def _give_back(self) -> None:
        """All that the worker had, with what is known of it. Tries until the leases have ended by themselves."""
        calls: list[tuple[Any, ...]] = [(lease.token, lease.begun, lease.done) for lease in self._memory.leases()]
        calls.append((b"", b"", b""))
        while calls and time.monotonic() < self._renewed + self._lease + _OFTEN:
            try:
                self._back(self._keys, (self._clock, self._worker, *calls[0]), timeout=2.0)
                calls.pop(0)
            except MailgeniusError:
                time.sleep(_AGAIN)


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"T"
    except OSError:  # no such system, or no such process any more
        return False


def main() -> None:
    # What ends the worker may be meant for all of its group or terminal: the keeper ends after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            sys.exit("the worker ended before it said what to keep")
        line += more
    order = json.loads(line)
    life = [0]
    with contextlib.suppress(AttributeError, OSError):  # other processes that the worker made may hold the pipe open
        life.append(os.pidfd_open(order["pid"]))
    redis = Redis(order["url"], settings=msgspec.convert(order["settings"], RedisSettings))
    memory = memoryview(mmap.mmap(order["memory"], 0))
    keepers = [Keeper(order, shard, redis, memory) for shard in range(len(order["shards"]))]
    others = [threading.Thread(target=keeper.run, args=(life,)) for keeper in keepers[1:]]
    for thread in others:
        thread.start()
    keepers[0].run(life)
    for thread in others:
        thread.join()


if __name__ == "__main__":
    main()
