"""The example app under 100 keep-alive users who do not wait for one another: the highest rate with p95 under 20 ms.

uvicorn with httptools and uvloop, one worker and two; the generator (``benchmarks.load``) and PostgreSQL run on the same
cores. The mix is that of an app's screens. ``sustained`` takes any database: it samples the addresses to ask for itself.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import psycopg

from benchmarks import data
from benchmarks.load import Load
from benchmarks.room import WORKSPACE, Room
from benchmarks.serving import served

from .pool import filled

if TYPE_CHECKING:
    from benchmarks.results import Results

    from . import Options

ROOT = Path(__file__).resolve().parents[2]
ROWS = 100_000
USERS = 100
P95 = 0.020
MIX = {"lead": 70, "leads": 20, "search": 5, "stats": 4, "count": 1}


def paths(conninfo: str, workspace: str, many: int = 5000) -> list[str]:
    """What is asked, in the proportions of ``MIX``, in random order."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "select email from mailgenius.leads l join mailgenius.workspaces w on w.id = l.workspace_id"
            " where w.slug = %s order by hashtext(email) limit 2000",
            (workspace,),
        ).fetchall()
    rng, emails = random.Random(1), [email for (email,) in rows]
    found = []
    for _ in range(many):
        (kind,) = rng.choices(list(MIX), list(MIX.values()))
        email = rng.choice(emails)
        query = {
            "lead": f"?email={quote(email)}",
            "leads": "?limit=50&order=" + rng.choice(["id", "email"]),
            "search": f"?q={quote(email[:4])}",
            "stats": "",
            "count": "?country=" + rng.choice(["BR", "PT", "US", "DE"]),
        }[kind]
        found.append(f"/{workspace}/{kind}{query}")
    return found


def asked(port: int, rate: float, seconds: float, what: str) -> Load:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(rate), str(seconds), str(USERS)]
    done = subprocess.run(command, input=what, cwd=ROOT, capture_output=True, text=True, check=True)
    return msgspec.json.decode(done.stdout, type=Load)


def holds(load: Load, rate: float) -> bool:
    return load.p95 < P95 and not load.failed and load.rate > 0.95 * rate


def sustained(conninfo: str, workspace: str, workers: int, options: Options) -> tuple[float, Load]:
    """The highest rate that holds, within a twentieth, and what it is like. Zero if none of those tried does."""
    what = "\n".join(paths(conninfo, workspace))
    best: tuple[float, Load] | None = None
    low, high, rate = 0.0, 0.0, 500.0
    with served(conninfo, workers=workers) as port:
        asked(port, 200, options.seconds, what)  # connections made, statements prepared
        while not high or high / max(low, 1.0) > 1.05:
            load = asked(port, rate, 2 * options.seconds, what)
            good = holds(load, rate)
            options.say(
                f"asgi: {workers} worker(s), {rate:6.0f}/s: p50 {load.p50 * 1000:.1f}, p95 {load.p95 * 1000:.1f},"
                f" p99 {load.p99 * 1000:.1f} ms, generator {load.cpu:.0%} of a core, lag {load.lag * 1000:.1f} ms"
            )
            if good:
                low, best = rate, (rate, load)
            else:
                high = rate
            if high and high <= 50:
                break
            rate = (low + high) / 2 if high and low else rate / 2 if high else rate * 2
    return best or (0.0, load)


def measure(room: Room, options: Options, results: Results) -> None:
    results.forget("asgi")
    if absent := [
        name for name in ("starlette", "uvicorn", "httptools", "uvloop") if not importlib.util.find_spec(name)
    ]:
        results.skipped["asgi"] = dict.fromkeys(absent, "not installed")
        options.say(f"asgi: left out: {', '.join(absent)} not installed")
        return
    conninfo = filled(room, data.dataset(ROWS))
    found = {workers: sustained(conninfo, WORKSPACE, workers, options) for workers in (1, 2)}
    best = max(found, key=lambda workers: found[workers][0])
    command = options.command("asgi")
    for workers, (rate, _) in found.items():
        results.put(f"asgi/highest rate with p95 under 20 ms, workers: {workers}", [rate], "/s", command=command)
    rate, load = found[best]
    results.put("asgi/highest rate with p95 under 20 ms", [rate], "/s", command=command)
    for name in ("p50", "p95", "p99", "lag"):
        title = "how late the generator was, p99" if name == "lag" else name
        results.put(f"asgi/at that rate: {title}", [getattr(load, name) * 1000], "ms", command=command)
    for path, value in sorted(load.slowest.items()):
        results.put(f"asgi/at that rate: p99 of {path}", [value * 1000], "ms", command=command)
    results.put("asgi/at that rate: cores the generator took", [load.cpu], "", command=command)
