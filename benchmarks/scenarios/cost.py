"""What indexes and counters cost: 2M leads into the table with all of them, and into the one with its primary key and
unique address only; and what indexed attributes cost. In turns, each into a fresh copy; with the disk that each takes
afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from benchmarks import data
from benchmarks.room import EMPTY, Contender, Outcome, Room, middle
from benchmarks.world import ATTRIBUTES
from mailgenius.leads import Leads
from mailgenius.pool import Pool

if TYPE_CHECKING:
    from benchmarks.results import Results

    from . import Options

BARE, NAMED = "bench_bare", "bench_named"
WITH, WITHOUT = "everything in place", "primary key and unique address only"
WITH_ATTRIBUTES = f"everything in place, {len(ATTRIBUTES)} attributes indexed"


def bared(room: Room) -> None:
    """A copy of the empty database, without what can be left away of leads."""
    room.drop(BARE)
    with room.admin() as conn:
        conn.execute(f"create database {BARE} template {EMPTY} strategy file_copy")
    with psycopg.connect(room.conninfo(BARE), autocommit=True) as conn:
        leads = "'mailgenius.leads'::regclass"
        triggers = conn.execute(
            f"select tgname from pg_trigger where tgrelid = {leads} and not tgisinternal"
        ).fetchall()
        for (name,) in triggers:
            conn.execute(f"drop trigger {name} on mailgenius.leads")
        indexes = conn.execute(
            f"select indexrelid::regclass::text from pg_index where indrelid = {leads} and not indisprimary"
            " and indexrelid <> 'mailgenius.leads_email'::regclass"
        ).fetchall()
        for (name,) in indexes:
            conn.execute(f"drop index {name}")


def named(room: Room) -> None:
    """A copy of the empty database that indexes attributes."""
    room.drop(NAMED)
    with room.admin() as conn:
        conn.execute(f"create database {NAMED} template {EMPTY} strategy file_copy")
    with Pool(room.conninfo(NAMED)) as pool:
        Leads(pool).index_attributes(*ATTRIBUTES)


def measure(room: Room, options: Options, results: Results) -> None:
    leads = data.dataset(options.rows)
    results.forget("cost")
    bared(room)
    named(room)
    expect = {"table": leads.facts.inserted, "inserted": leads.facts.inserted}
    contenders = [
        Contender(WITH, "ours", str(leads.raw), template=EMPTY, expect=expect),
        Contender(WITH_ATTRIBUTES, "ours", str(leads.raw), template=NAMED, expect=expect),
        Contender(WITHOUT, "ours_bare", str(leads.raw), template=BARE, expect=expect),
    ]
    disk: dict[str, dict[str, int]] = {}

    def run(contender: Contender) -> Outcome:
        outcome = room.run(contender)
        if contender.name not in disk:
            with psycopg.connect(room.conninfo("bench_run"), autocommit=True) as conn:
                rows = conn.execute(
                    "select c.relname, pg_total_relation_size(c.oid) from pg_class c"
                    " where c.relnamespace = 'mailgenius'::regnamespace and c.relkind = 'r'"
                )
                disk[contender.name] = dict(rows.fetchall())
        return outcome

    options.say(f"cost: {leads.facts.rows:,} rows with and without indexes and counters")
    found = room.race(contenders, options.runs, options.say, run)
    room.drop(BARE)
    room.drop(NAMED)
    command = options.command("cost")
    for name, outcomes in found.items():
        largest = sorted(disk[name].items(), key=lambda item: -item[1])
        tables = ", ".join(f"{table} {size / 2**20:,.0f}" for table, size in largest if size >= 2**20)
        total = sum(disk[name].values()) / 2**20
        results.put_race("cost", name, outcomes, note=f"{total:,.0f} MiB on disk, {tables}", command=command)
        results.put(f"cost/{name}: disk", [total], "MiB", command=command)
    ratio = middle(found[WITH]) / middle(found[WITHOUT])
    options.say(f"  with / without = {ratio:.2f}")
    options.say(f"  with attributes / with = {middle(found[WITH_ATTRIBUTES]) / middle(found[WITH]):.2f}")
