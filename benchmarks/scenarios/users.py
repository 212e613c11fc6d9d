"""100 users at once, each asking when its time has come and not when the answer before was there (open loop).

Arrivals are a Poisson process for each user, drawn by seed before the clock starts; a user with an answer outstanding asks
its next question right after it. Latency counts from the moment at which the question was due, so waiting behind one's
own slow question counts in full. AsyncLeads over one AsyncPool, all in this process, on uvloop where it is installed. A
loop wakes up to a millisecond late (uvloop's timers count in milliseconds); that is part of the latencies.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import random
import time
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.questions import COUNTS, KEPT, LOOKUPS, NOT_SENT, PAGES, PREFIX, STATISTICS, SUBSTRING, Questions
from benchmarks.room import wait_for_quiet
from benchmarks.world import LARGE, opened
from mailgenius.leads import AsyncLeads, Leads
from mailgenius.pool import AsyncPool, Pool

from .queries import size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.questions import Ask
    from benchmarks.results import Results
    from benchmarks.room import Room
    from benchmarks.world import Size

    from . import Options

USERS = 100
RATE = 1000
LIMIT = 0.2  # seconds: what p95 must hold at the highest rate
STEP = 1.1  # how near the highest rate is approached
MIX = {  # share of the questions, groups of kinds
    "lookups": (0.70, (LOOKUPS,)),
    "pages": (0.20, (PAGES,)),
    "searches": (0.05, (PREFIX, SUBSTRING)),
    "statistics": (0.04, (STATISTICS, KEPT)),
    "ad-hoc counts": (0.01, (COUNTS, NOT_SENT)),
}
BUT_COUNTS = "all but ad-hoc counts"


class Load(msgspec.Struct, frozen=True):
    """What became of a time of open-loop arrivals: seconds of every question by its share of the mix."""

    asked: int
    unanswered: int  # due and not answered when the time was up; their latency counts up to then
    took: dict[str, list[float]]

    def quantile(self, share: float, *names: str) -> float:
        times = sorted(t for name in names or self.took for t in self.took[name])
        return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def scenario(size: Size) -> str:
    return "users" if size != LARGE else f"users {size.name}"


def schedules(questions: Questions, rate: float, seconds: float, seed: str) -> list[list[tuple[float, str, Ask]]]:
    """For each user: when, which part of the mix, what."""
    rng = random.Random(seed)
    names, weights = list(MIX), [share for share, _ in MIX.values()]
    kinds = {name: questions.group(*groups) for name, (_, groups) in MIX.items()}
    users = []
    for _ in range(USERS):
        at, mine = 0.0, []
        while (at := at + rng.expovariate(rate / USERS)) < seconds:
            name = rng.choices(names, weights)[0]
            mine.append((at, name, rng.choice(rng.choice(kinds[name]).asks)))
        users.append(mine)
    return users


async def load(leads: AsyncLeads, users: list[list[tuple[float, str, Ask]]], seconds: float) -> Load:
    took: dict[str, list[float]] = {name: [] for name in MIX}
    clock = time.perf_counter
    began = clock() + 0.1
    unanswered = 0

    async def user(mine: list[tuple[float, str, Ask]]) -> None:
        nonlocal unanswered
        for number, (at, name, ask) in enumerate(mine):
            due = began + at
            if (early := due - clock()) > 0:
                await asyncio.sleep(early)
            try:
                await ask.of(leads)
            except asyncio.CancelledError:
                now = clock()
                for at, name, _ in mine[number:]:
                    if began + at <= now:
                        took[name].append(now - began - at)
                        unanswered += 1
                raise
            took[name].append(clock() - due)

    tasks = [asyncio.create_task(user(mine)) for mine in users]
    # What is due in the last moment may still be answered; what is not by then waits in a queue that grows.
    _, late = await asyncio.wait(tasks, timeout=seconds + 0.1 + LIMIT * 2)
    for task in late:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for failed in done:
        if isinstance(failed, BaseException) and not isinstance(failed, asyncio.CancelledError):
            raise failed
    return Load(sum(map(len, users)), unanswered, took)


async def settled(pool: AsyncPool, seconds: float = 30.0) -> None:
    """Returns when the server has put down what an overload before left it with."""
    deadline = time.monotonic() + seconds
    busy = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and state = 'active' and pid <> pg_backend_pid()"
    )
    while await pool.fetch_value(busy) and time.monotonic() < deadline:  # noqa: ASYNC110  (only asking tells)
        await asyncio.sleep(0.1)


async def highest(run: Callable[[float], Any], say: Callable[[str], None], first: float = RATE) -> tuple[float, float]:
    """The highest rate tried whose p95 holds the limit, and that p95: doubled or halved, then narrowed down to STEP."""
    low, high, p95 = 0.0, 0.0, 0.0
    rate = first
    while not (low and high) or high / low > STEP:
        found: Load = await run(rate)
        value = found.quantile(0.95)
        say(f"  {rate:8,.0f} /s   p95 {value * 1000:8.1f} ms   unanswered {found.unanswered}")
        if value < LIMIT:
            low, p95 = rate, value
        else:
            high = rate
        if not low and rate < 10:
            break
        rate = (low * high) ** 0.5 if low and high else rate * 2 if low else rate / 2
    return low, p95


def measure(room: Room, options: Options, results: Results) -> None:
    size = size_of(options)
    world = opened(room, size, options.say)
    name = scenario(size)
    uvloop = importlib.util.find_spec("uvloop") is not None
    note = "uvloop" if uvloop else "asyncio's own loop"
    results.forget(name)
    results.texts[name] = [
        f"Open loop: Poisson arrivals of {RATE:,} questions a second by {USERS} users, latency from when a question was "
        "due. "
        + ", ".join(f"{share:.0%} {part}" for part, (share, _) in MIX.items())
        + f". AsyncLeads in one process, {note}; "
        "PostgreSQL on the same cores."
    ]
    conninfo = room.conninfo(world.database)
    with Pool(conninfo) as pool:
        questions = Questions(world, Leads(pool))
    command = options.command("users")
    seconds, probe = (3.0, 2.0) if options.quick else (30.0, 6.0)

    def put(what: str, value: float, unit: str, note: str = "", others: float = 0.0) -> None:
        results.put(f"{name}/{what}", [value], unit, note=note, others=others, command=command)

    async def main() -> None:
        async with AsyncPool(conninfo) as pool:
            leads = AsyncLeads(pool)

            async def run(rate: float, seconds: float = probe, seed: str = "probe") -> Load:
                users = schedules(questions, rate, seconds, seed)
                await settled(pool)
                gc.collect()
                return await load(leads, users, seconds)

            if room.patient:
                wait_for_quiet()
            await run(200, 1.0 if options.quick else 5.0, "warm")
            options.say(f"{name}: {USERS} users, {RATE:,} questions a second for {seconds:g} s, {note}")
            with room.watched() as seen:
                found = await run(RATE, seconds, "measured")
            for part, names in [*((part, (part,)) for part in MIX), (BUT_COUNTS, tuple(MIX)[:-1])]:
                p50, p95, p99, top = (found.quantile(q, *names) * 1000 for q in (0.5, 0.95, 0.99, 1.0))
                asked = sum(len(found.took[n]) for n in names)
                put(f"{RATE:,} a second, {part}", p99, "ms", others=seen.others)
                for what, value, unit in (
                    ("p50", p50, "ms"),
                    ("p95", p95, "ms"),
                    ("max", top, "ms"),
                    ("calls", asked, ""),
                ):
                    put(f"{RATE:,} a second, {part}; {what}", value, unit)
                options.say(f"  {part:<44}{p50:10.2f} {p95:10.2f} {p99:10.2f} {top:10.2f} ms{asked:8,}")
            worst = max(found.quantile(0.99, part) for part in MIX if part != "ad-hoc counts")
            put(f"{RATE:,} a second; worst p99 of all but ad-hoc counts", worst * 1000, "ms")
            options.say(f"{name}: the highest rate with p95 under {LIMIT * 1000:g} ms")
            rate, p95 = await highest(run, options.say)
            put("highest rate", rate, "/s", f"p95 {p95 * 1000:.0f} ms; {note}; {probe:g} s for each rate tried")

    factory = None
    if uvloop:
        import uvloop as loop

        factory = loop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
