"""How a server tells clients of changes: by prefix (``CLIENT TRACKING ON BCAST``), or of what each of them has read (its
default mode). What it keeps in memory for that, its processor's time for reads and writes, what is sent, and how soon.

Some clients read all keys, as processes with a layer of their own would; then another one writes keys that they have, and
keys that nobody has. "not told" is the same without CLIENT TRACKING.
"""

from __future__ import annotations

import contextlib
import tempfile
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mailgenius import Redis
from mailgenius.servers import valkey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Results
    from benchmarks.room import Room
    from mailgenius.link.dedicated_sync import Dedicated

    from . import Options

CLIENTS = 4
WAYS: dict[str, tuple[str, ...]] = {
    "not told": (),
    "by prefix": ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k:"),
    "by what was read": ("CLIENT", "TRACKING", "ON"),
}
PIECE = 1000
WRITES = 50_000


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget("tracking")
    found: dict[tuple[str, str], list[float]] = {}
    settings = {"requirepass": "", "save": "", "appendonly": "no"}
    with tempfile.TemporaryDirectory() as folder, valkey(folder, port=0, settings=settings) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        with Redis(f"redis://127.0.0.1:{port}", timeout=60.0) as redis:
            for keys in (10_000,) if options.quick else (100_000, 1_000_000):
                redis.call("FLUSHALL")
                _write(redis, range(keys))
                for turn in range(options.runs):
                    for way in WAYS:
                        for (what, unit), value in _told(redis, way, keys).items():
                            found.setdefault((f"tracking/{keys:,} keys, {what}, {way}", unit), []).append(value)
                    options.say(f"  {keys:,} keys, turn {turn + 1} of {options.runs}")
            for way in list(WAYS)[1:]:
                delays = sorted(_delays(redis, way, 200 if options.quick else 2000))
                for name, share in (("p50", 0.5), ("p99", 0.99)):
                    delay = delays[int(len(delays) * share)] * 1e6
                    found[(f"tracking/from a write to the news of it, {name}, {way}", "µs")] = [delay]
    for (name, unit), runs in found.items():
        results.put(name, runs, unit, command=options.command("tracking"))


def _told(redis: Redis, way: str, keys: int) -> dict[tuple[str, str], float]:
    figures = {}
    with contextlib.ExitStack() as stack:
        counts: list[int] = []
        lines = [stack.enter_context(_client(redis, way, counts)) for _ in range(CLIENTS)]
        before, used = _server(redis)
        for line in lines:
            for at in range(0, keys, PIECE):
                line.call("MGET", *_names(range(at, at + PIECE)))
        after, took = _server(redis)
        figures["memory for what clients have", "MiB"] = max(0.0, after - before) / 2**20
        figures["the server's time for a key that is read", "µs"] = (took - used) / (CLIENTS * keys) * 1e6
        for whose, first in (("clients have", 0), ("nobody has", keys)):
            counts.clear()
            _, used = _server(redis)
            for at in range(first, first + WRITES, PIECE):
                _write(redis, range(at, at + PIECE))
                for line in lines:
                    line.call("PING")  # what was pushed before that has been read
            _, took = _server(redis)
            figures[f"the server's time for a write of what {whose}", "µs"] = (took - used) / WRITES * 1e6
            figures[f"names told for each write of what {whose}", ""] = sum(counts) / WRITES
        redis.calls([("UNLINK", *_names(range(at, at + PIECE))) for at in range(keys, keys + WRITES, PIECE)])
    return figures


@contextlib.contextmanager
def _client(redis: Redis, way: str, counts: list[int]) -> Iterator[Dedicated]:
    with redis.dedicated(on_push=lambda push: counts.append(len(push[1] or ()))) as line:
        if WAYS[way]:
            assert line.call(*WAYS[way]) == b"OK"
        yield line


def _delays(redis: Redis, way: str, count: int) -> list[float]:
    """Seconds from before a write until the news of it has been read."""
    delays = []
    with redis.dedicated() as line:
        line.call(*WAYS[way])
        for number in range(count):
            line.call("GET", "k:1")
            began = perf_counter()
            redis.call("SET", "k:1", number)
            push: Any = line.next_push(10.0)
            delays.append(perf_counter() - began)
            assert push[1] == [b"k:1"]
    return delays


def _names(numbers: Sequence[int]) -> list[str]:
    return [f"k:{number}" for number in numbers]


def _write(redis: Redis, numbers: Sequence[int]) -> None:
    for at in range(0, len(numbers), PIECE):
        redis.calls([("SET", name, "x" * 16) for name in _names(numbers[at : at + PIECE])])


def _server(redis: Redis) -> tuple[float, float]:
    """Bytes it uses but for what it is about to send, seconds of processor it has used."""
    lines = redis.call("INFO", "everything").decode().splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    used = float(info["used_memory"]) - float(info["mem_clients_normal"])
    return used, float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
