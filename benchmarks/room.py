"""The room all contenders run in: one embedded server with its ordinary, durable settings, and a fresh copy of the same
database for every run, so that nobody inherits somebody else's bloat, statistics or checkpoint.

A contender that is Python runs in a process of its own (``run_one``), which reports its time (imports not counted), its
processor time and its peak memory.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from mailgenius.leads import Leads, migrate
from mailgenius.pool import Pool
from mailgenius.servers import postgres

from . import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = "bench"
EMPTY, FULL = "bench_empty", "bench_full"
RUN = "bench_run"
DISTURBED = 0.10  # a patient room repeats runs in which others took more of the machine than this …
ATTEMPTS = 4  # … at most this often


class Outcome(msgspec.Struct):
    """One run of one contender."""

    seconds: float
    cpu: float = 0.0  # user + system of the client process
    server_cpu: float = 0.0  # user + system of all PostgreSQL processes
    rss: int = 0  # peak bytes above the process with everything imported
    inserted: int = 0
    updated: int | None = None
    duplicates: int | None = None
    rejected: int | None = None
    phases: dict[str, float] = {}
    calls: int = 0  # answers, where it is a time and not a piece of work that was given
    p50: float = 0.0  # seconds for one of them
    p99: float = 0.0
    load: float = 0.0  # of the machine, when it began
    others: float = 0.0  # share of the machine that processes of others took meanwhile


class Seen(msgspec.Struct):
    """Of the machine, while something ran: see Outcome."""

    load: float = 0.0
    server_cpu: float = 0.0
    others: float = 0.0


class Contender(msgspec.Struct):
    """``module`` of benchmarks.peers with its keywords. ``scale``: share of the rows it gets."""

    name: str
    module: str
    path: str
    keywords: dict[str, Any] = {}
    scale: float = 1.0
    template: str = EMPTY
    expect: dict[str, int] = {}  # counts that the outcome must have


class Room:
    def __init__(self, home: Path | None = None, *, patient: bool = False) -> None:
        self.patient = patient
        self.home = home or data.HOME / "room"
        self.server = postgres(self.home)
        self.bin = _bin(self.server.pid)
        with self.admin() as conn:
            self.version = str(conn.execute("show server_version").fetchone()[0])  # type: ignore[index]
        self.make(EMPTY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop(RUN)
        self.drop(FULL)
        self.drop(EMPTY)
        self.server.close()

    def admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.dsn, autocommit=True)

    def conninfo(self, database: str) -> str:
        return make_conninfo(self.server.dsn, dbname=database)

    @property
    def psql(self) -> str:
        return str(self.bin / "psql")

    def drop(self, database: str) -> None:
        with self.admin() as conn:
            conn.execute(f"drop database if exists {database} with (force)")

    def make(self, database: str, workspace: str | None = WORKSPACE) -> str:
        """A database with the schema and the workspace, if any, and no leads."""
        self.drop(database)
        with self.admin() as conn:
            conn.execute(f"create database {database}")
        with Pool(self.conninfo(database)) as pool:
            migrate(pool)
            if workspace is not None:
                assert Leads(pool).ensure_workspace(workspace) == 1
        return self.conninfo(database)

    def fresh(self, template: str) -> str:
        """A copy of a database, byte by byte, behind a checkpoint."""
        self.drop(RUN)
        with self.admin() as conn:
            conn.execute(f"create database {RUN} template {template} strategy file_copy")
            conn.execute("checkpoint")
        return self.conninfo(RUN)

    def copy_out(self, conninfo: str, query: str, path: Path) -> Path:
        """A query's rows as a binary COPY file."""
        statement = f"copy ({query}) to stdout (format binary)"
        with (
            psycopg.connect(conninfo) as conn,
            conn.cursor() as cur,
            path.open("wb") as out,
            cur.copy(statement) as copy,
        ):
            for piece in copy:
                out.write(piece)
        return path

    def run(self, contender: Contender) -> Outcome:
        conninfo = self.fresh(contender.template)
        outcome = self.observe(contender, conninfo)
        with psycopg.connect(conninfo) as conn:
            there = conn.execute("select count(*) from mailgenius.leads").fetchone()[0]  # type: ignore[index]
        for name, value in contender.expect.items():
            found = there if name == "table" else getattr(outcome, name)
            if found != value:
                raise SystemExit(f"{contender.name}: {name} is {found}, must be {value}")
        outcome.seconds /= contender.scale
        outcome.cpu /= contender.scale
        outcome.server_cpu /= contender.scale
        return outcome

    def observe(self, contender: Contender, conninfo: str) -> Outcome:
        """One run, with what the server and others took of the machine meanwhile."""
        with self.watched() as seen:
            if contender.module == "psql_copy":
                from .peers import psql_copy

                began = time.perf_counter()
                psql_copy.load(contender.path, conninfo, psql=self.psql, **contender.keywords)
                outcome = Outcome(time.perf_counter() - began)
            else:
                outcome = run_one(contender.module, contender.path, conninfo, contender.keywords)
        outcome.load, outcome.server_cpu, outcome.others = seen.load, seen.server_cpu, seen.others
        return outcome

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """What the server and others take of the machine inside the block; known at its end."""
        seen = Seen(load=os.getloadavg()[0])
        server_cpu, machine, own, clock = _server_cpu(self.server.pid), _machine_cpu(), _own_cpu(), time.perf_counter()
        yield seen
        seen.server_cpu = _server_cpu(self.server.pid) - server_cpu
        elsewhere = _machine_cpu() - machine - (_own_cpu() - own) - seen.server_cpu
        seen.others = max(0.0, elsewhere) / (time.perf_counter() - clock) / (os.cpu_count() or 1)

    def race(
        self,
        contenders: Sequence[Contender],
        runs: int,
        say: Callable[[str], None],
        run: Callable[[Contender], Outcome] | None = None,
    ) -> dict[str, list[Outcome]]:
        """Everybody once, then everybody again: what disturbs the machine disturbs all."""
        run = run or self.run
        found: dict[str, list[Outcome]] = {c.name: [] for c in contenders}
        for turn in range(runs):
            for contender in contenders:
                for _ in range(ATTEMPTS if self.patient else 1):
                    if self.patient:
                        wait_for_quiet()
                    outcome = run(contender)
                    if outcome.others <= DISTURBED:
                        break
                found[contender.name].append(outcome)
                figure = f"{outcome.calls / outcome.seconds:8,.0f} /s" if outcome.calls else f"{outcome.seconds:8.2f} s"
                say(f"  {turn + 1}/{runs} {contender.name:<44}{figure}   others {outcome.others:.0%}")
        return found


def run_one(module: str, path: str, conninfo: str, keywords: dict[str, Any]) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.run_one", module, path, conninfo, json.dumps(keywords)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"benchmarks.peers.{module} failed")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)


def middle(outcomes: Sequence[Outcome], field: str = "seconds") -> float:
    return statistics.median(getattr(o, field) for o in outcomes)


def wait_for_quiet(seconds: float = 120.0) -> None:
    """Returns when the machine was nearly idle for a second, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = _machine_cpu()
        time.sleep(1.0)
        if (_machine_cpu() - before) / (os.cpu_count() or 1) < DISTURBED:
            return


def _machine_cpu() -> float:
    """Processor seconds of everybody since the machine was started, stolen ones included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_cpu() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def _server_cpu(pid: int) -> float:
    """Processor seconds of a PostgreSQL so far: its living processes and those it has buried."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = tail.split()  # from the third on: state, parent, …
        if int(head.split(None, 1)[0]) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _bin(pid: int) -> Path:
    """Where the running server's programs are: they are the ones that its rivals must use."""
    return Path(f"/proc/{pid}/exe").resolve().parent
