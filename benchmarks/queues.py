"""One queue's turn: its processes (``peers.queues``), what they did, and what the server saw of it."""

from __future__ import annotations

import array
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from benchmarks.peers import _node
from benchmarks.peers.queues import OURS, OURS_THREADS, RIVALS, Way
from mailgenius import Redis
from mailgenius.servers import valkey

if TYPE_CHECKING:
    from benchmarks.results import Results

    from .scenarios import Options

Before: TypeAlias = Callable[[Redis], object]
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0  # seconds without any job done
_TURN = 0.01


class Work(msgspec.Struct):
    """What workers did."""

    rate: float  # jobs a second, of the last nine tenths
    added_cpu: float  # of the server, seconds a job
    worked_cpu: float
    handled: int  # more than there were jobs: some were handled twice


def _command(way: Way, role: str, url: str, *args: object) -> list[str]:
    if way.node:
        head = ["node", str(_node.HOME / "queue.js")]
    else:
        head = [sys.executable, "-m", "benchmarks.peers.queues._drive"]
    return [*head, way.module, role, url, *map(str, args)]


def add(way: Way, url: str, how: str, count: int, first: int = 0) -> dict[str, Any]:
    """What adding took, see ``_drive``: the first job is outside the time."""
    done = subprocess.run(
        _command(way, "add", url, how, first, count), stdout=subprocess.PIPE, cwd=ROOT, check=True, timeout=600
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def workers(way: Way, url: str, file: Path, processes: int = 1, *, each: bool = False) -> Iterator[None]:
    """Running ones; killed at the end, and by themselves if this process dies."""
    command = _command(way, "work", url, file, int(each or way.each))
    env = os.environ | {"PYTHONUNBUFFERED": "1", "NODE_ENV": "production"}
    with open(f"{file}.log", "ab") as log:  # noqa: PTH123 - a name beside that of the file
        made = [
            subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
            for _ in range(processes)
        ]
        try:
            yield
        finally:
            for process in made:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


class Records:
    """What workers wrote, read as it grows."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.parts: list[tuple[float, array.array[int]]] = []
        self.count = 0
        self._at = 0

    def read(self) -> None:
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        at = 0
        while at + 12 <= len(data):
            when, count = struct.unpack_from("<dI", data, at)
            if at + 12 + 4 * count > len(data):
                break
            numbers = array.array("I", data[at + 12 : at + 12 + 4 * count])
            self.parts.append((when, numbers))
            self.count += count
            at += 12 + 4 * count
        self._at += at

    def wait(self, count: int) -> None:
        """Until so many jobs have been handled."""
        pause, last, seen = threading.Event(), monotonic(), -1
        while True:
            self.read()
            if self.count >= count:
                return
            if self.count != seen:
                seen, last = self.count, monotonic()
            elif monotonic() - last > PATIENCE:
                said = Path(f"{self.file}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(
                    f"{self.count:,} of {count:,} jobs were handled, and no more for {PATIENCE:g} s\n{said}"
                )
            pause.wait(_TURN)

    def rate(self, count: int) -> float:
        parts = sorted(self.parts)
        done, begun, first = 0, 0.0, 0
        for when, numbers in parts:
            done += len(numbers)
            if not begun and done >= count / 10:
                begun, first = when, done
        return (done - first) / (parts[-1][0] - begun)

    def distinct(self) -> int:
        return len({n for _, numbers in self.parts for n in numbers})


def cpu(redis: Redis) -> float:
    """Seconds of the processor that the server has used."""
    found = info(redis, "cpu")
    return float(found["used_cpu_sys"]) + float(found["used_cpu_user"])


def memory(redis: Redis) -> int:
    return int(info(redis, "memory")["used_memory"])


def requests(redis: Redis) -> int:
    """What clients have sent so far, by the reads that brought it; the commands that scripts call do not count."""
    return int(info(redis, "stats")["total_reads_processed"])


def info(redis: Redis, section: str) -> dict[str, str]:
    text = redis.call("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def work(
    way: Way, url: str, folder: Path, jobs: int, processes: int = 1, *, through: str = "", before: Before | None = None
) -> Work:
    """Fills the queue and has it worked off; each job must have been handled. ``through``: where workers find the server,
    if elsewhere; ``before``: is called when the queue is full."""
    file = folder / "records"
    for old in (file, Path(f"{file}.log")):
        old.unlink(missing_ok=True)
    with Redis(url) as redis:
        redis.call("FLUSHALL", "SYNC")
        cpus = [cpu(redis)]
        add(way, url, "many" if way.bulk else "crowd", jobs)
        cpus.append(cpu(redis))
        if before is not None:
            before(redis)
        records = Records(file)
        with workers(way, through or url, file, processes):
            records.wait(jobs)
            cpus.append(cpu(redis))
        records.read()
    if (found := records.distinct()) != jobs:
        raise RuntimeError(f"{way.name}: {jobs:,} jobs were added, {found:,} of them handled")
    return Work(records.rate(jobs), (cpus[1] - cpus[0]) / jobs, (cpus[2] - cpus[1]) / jobs, records.count)


@contextlib.contextmanager
def server(program: str | None = None) -> Iterator[tuple[str, Path]]:
    """The URL of a Redis that logs what it does (AOF, everysec), and a folder."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        valkey(Path(folder) / "server", port=0, settings={"requirepass": ""}, program=program) as made,
    ):
        yield made.url, Path(folder)


def contenders(options: Options, results: Results, scenario: str, *, threads: bool = True) -> list[Way]:
    """Ours and the rivals that are installed."""
    ways = [OURS, OURS_THREADS] if threads else [OURS]
    if not options.peers:
        return ways
    node = _node.missing()
    for way in RIVALS:
        why = node if way.node else "" if importlib.util.find_spec(way.module) else "not installed"
        if why:
            results.skipped.setdefault(scenario, {})[way.name] = why
        else:
            ways.append(way)
    return ways


def with_jemalloc() -> str | None:
    """A distribution's redis-server, whose memory figures mean something: on PATH, or where MG_REDIS_SERVER says."""
    program = os.environ.get("MG_REDIS_SERVER") or shutil.which("redis-server")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout
    return program if "malloc=jemalloc" in said else None


def clear(url: str) -> None:
    with Redis(url) as redis:
        redis.call("FLUSHALL", "SYNC")


def jobs(way: Way, options: Options) -> int:
    return way.jobs // 10 if options.quick else way.jobs


@contextlib.contextmanager
def far(url: str, microseconds: int) -> Iterator[str]:
    """Where the same server is so far away, there and back."""
    if not microseconds:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "delay"
        subprocess.run(["cc", "-O2", "-o", program, Path(_node.__file__).with_name("delay.c")], check=True)
        port = url.rpartition(":")[2].partition("/")[0]
        with subprocess.Popen([program, port, str(microseconds // 2)], stdout=subprocess.PIPE, text=True) as proxy:
            assert proxy.stdout is not None
            try:
                yield f"redis://127.0.0.1:{int(proxy.stdout.readline())}/0"
            finally:
                proxy.kill()


def script_p99(redis: Redis) -> float:
    """Milliseconds, of all script calls since CONFIG RESETSTAT."""
    found = info(redis, "latencystats")["latency_percentiles_usec_evalsha"]
    return float(dict(part.split("=") for part in found.split(","))["p99"]) / 1e3
