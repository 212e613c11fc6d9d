"""Small reads through a pool of ten connections, by 1, 10 and 100 callers at once: ours beside other people's pools.

Every run is a process of its own. All of a case (one question, so many callers) take turns, so figures of a case can be
compared with each other; those of an earlier run are forgotten.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from benchmarks import data
from benchmarks.peers import _node, psql_copy
from benchmarks.peers._calls import QUESTIONS
from benchmarks.results import calls
from benchmarks.room import EMPTY, Contender, Room

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results

    from . import Options

ROWS = 100_000
EMAILS = 5_000
CALLERS = (1, 10, 100)
UVLOOP = {"uvloop": True}


class Way(msgspec.Struct, frozen=True):
    """``needs``: packages that the peers group brings and an older environment may lack."""

    name: str
    module: str
    keywords: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    note: str = ""


OURS = [
    Way("mailgenius Pool.fetch", "pool_ours", {"how": "fetch"}),
    Way("mailgenius Pool.connection", "pool_ours", {"how": "connection"}),
    Way("mailgenius AsyncPool.fetch", "pool_ours_async", {"how": "fetch"}),
    Way("mailgenius AsyncPool.fetch + uvloop", "pool_ours_async", {"how": "fetch"} | UVLOOP, ("uvloop",)),
    Way("mailgenius AsyncPool.connection", "pool_ours_async", {"how": "connection"}),
    Way("mailgenius AsyncPool.connection + uvloop", "pool_ours_async", {"how": "connection"} | UVLOOP, ("uvloop",)),
]
RIVALS = [
    Way("psycopg_pool", "pool_psycopg", note="threads"),
    Way("psycopg_pool async", "pool_psycopg_async"),
    Way("psycopg_pool async + uvloop", "pool_psycopg_async", UVLOOP, ("uvloop",)),
    Way("asyncpg", "pool_asyncpg", needs=("asyncpg",)),
    Way("asyncpg + uvloop", "pool_asyncpg", UVLOOP, ("asyncpg", "uvloop")),
    Way("SQLAlchemy", "pool_sqlalchemy", needs=("sqlalchemy", "asyncpg"), note="asyncio engine over asyncpg"),
    Way("node-postgres", "pool_node"),
]
PGBENCH = Way("pgbench", "pool_pgbench", note="no pool: at most 10 callers, a connection each; always the same lead")


def why_not(way: Way, room: Room) -> str:
    """Why this way cannot be measured here; nothing if it can."""
    if absent := [name for name in way.needs if importlib.util.find_spec(name) is None]:
        return f"{' and '.join(absent)} not installed"
    if way.module == "pool_ours_async" and not hasattr(importlib.import_module("mailgenius.pool"), "AsyncPool"):
        return "mailgenius.pool has no AsyncPool"
    if way.module == "pool_node":
        return _node.missing()
    if way.module == "pool_pgbench" and not (room.bin / PGBENCH.name).exists():
        return "the server came without it"
    return ""


def filled(room: Room, leads: data.Dataset) -> str:
    """The table that is asked, settled: nothing is left for autovacuum to do meanwhile."""
    conninfo = room.fresh(EMPTY)
    psql_copy.load(str(leads.clean), conninfo, psql=room.psql)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("vacuum (analyze) mailgenius.leads")
        conn.execute("checkpoint")
    return conninfo


def asked(leads: data.Dataset) -> Path:
    """Addresses to ask for, one a line."""
    path = leads.clean.with_suffix(".emails")
    path.write_text("\n".join(data.sample_emails(leads.clean, EMAILS, leads.facts.accepted)) + "\n", encoding="utf-8")
    return path


def measure(room: Room, options: Options, results: Results) -> None:
    leads = data.dataset(ROWS)
    conninfo, emails = filled(room, leads), str(asked(leads))
    results.forget("pool")
    skipped = results.skipped["pool"] = {}
    ways = []
    for way in [*OURS, *(RIVALS if options.peers else []), PGBENCH]:
        if why := why_not(way, room):
            skipped[way.name] = why
            options.say(f"pool: {way.name} is left out: {why}")
        else:
            ways.append(way)
    paths = {PGBENCH.name: {"pgbench": str(room.bin / PGBENCH.name)}}
    for question in QUESTIONS:
        for callers in CALLERS:
            case: dict[str, Any] = {"question": question, "callers": callers, "seconds": options.seconds}
            options.say(f"pool: {question}, callers: {callers}")
            contenders = [
                Contender(way.name, way.module, emails, way.keywords | case | paths.get(way.name, {})) for way in ways
            ]
            found = room.race(contenders, options.runs, options.say, lambda c: room.observe(c, conninfo))
            for way in ways:
                name = calls("pool", question, callers, way.name)
                results.put_calls(name, found[way.name], note=way.note, command=options.command("pool"))
