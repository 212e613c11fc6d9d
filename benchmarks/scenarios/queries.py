"""What an e-mail platform asks, one caller, warm: every kind of question with its p50, p99 and slowest answer.

Each kind is asked until 1,000 answers or its time are up, 100 at least (20 if one takes a second). Every count that is
asked for is checked once against a plain SQL query; the truths are kept with the world. Changes are made in a copy of it.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import shutil
import time
from typing import TYPE_CHECKING

import msgspec
import psycopg

from benchmarks.questions import KEPT, LOOKUPS, ORDERED, PAGES, PREFIX, STATISTICS, SUBSTRING, WRITES, Kind, Questions
from benchmarks.room import ATTEMPTS, DISTURBED, wait_for_quiet
from benchmarks.segments import COUNTS, NOT_INDEXED, NOT_SENT
from benchmarks.world import LARGE, SMALL, USUAL, Size, described, opened
from mailgenius.leads import Leads
from mailgenius.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.questions import Ask
    from benchmarks.results import Results
    from benchmarks.room import Room
    from benchmarks.world import World

    from . import Options

GROUPS = (LOOKUPS, PAGES, PREFIX, KEPT, COUNTS, NOT_SENT, SUBSTRING, STATISTICS, NOT_INDEXED, ORDERED, WRITES)
ANYTHING = "anything"
CALLS, ENOUGH, FEW = 1000, 100, 20
SECONDS, PATIENCE = 2.0, 10.0  # for a kind; until there are ENOUGH answers
CHANGES = 100


class Timed(msgspec.Struct, frozen=True):
    calls: int
    p50: float
    p99: float
    slowest: float
    others: float = 0.0  # share of the machine that processes of others took meanwhile


def scenario(size: Size) -> str:
    return "queries" if size != LARGE else f"queries {size.name}"


def size_of(options: Options) -> Size:
    return SMALL if options.quick else LARGE if options.large else USUAL


def summary(took: list[float]) -> Timed:
    times = sorted(took)
    return Timed(len(times), times[len(times) // 2], times[len(times) * 99 // 100], times[-1])


def timed(leads: Leads, asks: list[Ask], *, quick: bool = False) -> Timed:
    """How long the answers take, after some that are not counted."""
    seconds, enough = (0.1, 5) if quick else (SECONDS, ENOUGH)
    for ask in asks[: 5 if len(asks) > 12 else 12]:
        ask.of(leads)
    gc.collect()
    clock, took, spent = time.perf_counter, list[float](), 0.0
    for ask in itertools.islice(itertools.cycle(asks), CALLS):
        began = clock()
        ask.of(leads)
        took.append(clock() - began)
        spent += took[-1]
        n = len(took)
        if (spent > seconds and n >= enough) or (spent > PATIENCE and n >= FEW):
            break
    return summary(took)


def undisturbed(room: Room, measured: Callable[[], Timed]) -> Timed:
    """A patient room waits for a quiet machine, and measures again what others disturbed."""
    best: Timed | None = None
    for _ in range(ATTEMPTS if room.patient else 1):
        if room.patient:
            wait_for_quiet(20.0)
        with room.watched() as seen:
            found = measured()
        if best is None or seen.others < best.others:
            best = msgspec.structs.replace(found, others=round(seen.others, 3))
        if best.others <= DISTURBED:
            break
    assert best is not None
    return best


def check(room: Room, world: World, leads: Leads, kinds: list[Kind]) -> tuple[int, list[str]]:
    """How many counts were compared with a plain query, and those that differ from it."""
    kept = room.home / f"{world.database}.answers.json"
    known: dict[str, int] = msgspec.json.decode(kept.read_bytes()) if kept.exists() else {}
    compared, wrong = 0, []
    with psycopg.connect(room.conninfo(world.database), autocommit=True) as conn:

        def plain(ask: Ask) -> int:
            text, params = ask.plain()
            name = hashlib.sha256(f"{text}{sorted(params.items())}".encode()).hexdigest()[:16]
            if ask.moves or name not in known:
                row = conn.execute(text, params).fetchone()
                assert row is not None
                known[name] = row[0]
            return known.pop(name) if ask.moves else known[name]

        for kind in kinds:
            for ask in kind.asks:
                if not ask.where:
                    continue
                before, said = plain(ask), ask.of(leads)
                # Where the answer moves with the clock, what was true just before or just after will do.
                if said != before and not (ask.moves and said == plain(ask)):
                    wrong.append(f"{kind.name} {ask.args[1]}: {said}, is {before}")
                compared += 1
    kept.write_bytes(msgspec.json.encode(known))
    return compared, wrong


def measure(room: Room, options: Options, results: Results) -> None:
    size = size_of(options)
    world = opened(room, size, options.say)
    name = scenario(size)
    results.forget(name)
    skipped = results.skipped[name] = {}
    results.texts[name] = described(world)
    command = options.command("queries")
    worst: dict[str, float] = {}

    def put(kind: Kind, found: Timed) -> None:
        ms = [v * 1000 for v in (found.p99, found.p50, found.slowest)]
        results.put(f"{name}/{kind.name}", [ms[0]], "ms", note=kind.group, others=found.others, command=command)
        for what, value, unit in (("p50", ms[1], "ms"), ("max", ms[2], "ms"), ("calls", found.calls, "")):
            results.put(f"{name}/{kind.name}; {what}", [value], unit, command=command)
        worst[kind.group] = max(worst.get(kind.group, 0.0), ms[0])
        worst[ANYTHING] = max(worst.get(ANYTHING, 0.0), ms[2])
        options.say(
            f"  {kind.name:<44}{ms[1]:10.2f} {ms[0]:10.2f} {ms[2]:10.2f} ms{found.calls:8,}   {found.others:4.0%}"
        )

    with Pool(room.conninfo(world.database)) as pool:
        leads = Leads(pool)
        questions = Questions(world, leads, counts=12 if size == USUAL else 4)
        if not questions.has_campaign_stats:
            skipped["campaign_stats"] = "Leads has none"
        began = time.perf_counter()
        compared, wrong = check(room, world, leads, questions.kinds)
        options.say(f"{name}: {compared} counts agree with plain SQL ({time.perf_counter() - began:.0f} s)")
        if wrong:
            raise SystemExit("\n".join(["wrong counts:", *wrong]))
        results.put(f"{name}/checked; counts", [compared], "", command=command)
        options.say(f"  {'':<44}{'p50':>10} {'p99':>10} {'max':>10}   {'calls':>8} others")
        for group in GROUPS:
            for kind in questions.group(group):
                put(kind, undisturbed(room, lambda asks=kind.asks: timed(leads, asks, quick=options.quick)))
        writes = questions.writes(5 if options.quick else CHANGES)
    _changes(room, world, writes, put, skipped)
    for group, ms in worst.items():
        results.put(f"{name}/worst; {group}", [ms], "ms", command=command)


def _changes(
    room: Room, world: World, kinds: list[Kind], put: Callable[[Kind, Timed], None], skipped: dict[str, str]
) -> None:
    """In a copy, so that the world stays as it is; in turns, so that a tag that is taken away was there."""
    needed = sum(size for _, _, size in world.disk) * 1.2
    if shutil.disk_usage(room.home).free < needed:
        skipped["writes"] = f"no {needed / 2**30:.0f} GiB for a copy of the database"
        return
    with Pool(room.fresh(world.database)) as pool:
        leads = Leads(pool)
        leads.count(world.largest.slug, kinds[0].asks[0].args[1])
        took: dict[str, list[float]] = {kind.name: [] for kind in kinds}
        for asks in zip(*(kind.asks for kind in kinds), strict=True):
            changed = []
            for kind, ask in zip(kinds, asks, strict=True):
                began = time.perf_counter()
                changed.append(ask.of(leads))
                took[kind.name].append(time.perf_counter() - began)
            assert changed[0] == changed[1] > 0, changed  # as many leads lost the tag as got it
            done = [len(times) for times in took.values()]
            if sum(map(sum, took.values())) > len(kinds) * PATIENCE and min(done) > FEW:
                break
        for kind in kinds:
            put(kind, summary(took[kind.name][1:]))
