"""100,000 rows onto a workspace of millions that holds a tenth of them already.

The rival gets the clean file: it neither parses nor checks anything. Once into the table as the migrations make it, and
once with the indexes that a large table gets (``leads.orders``), which cost both the same and bring them nearer together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import psycopg

from benchmarks import data
from benchmarks.peers import psql_copy
from benchmarks.room import EMPTY, FULL, Contender, Room, middle
from mailgenius.leads.orders import ensure_orders
from mailgenius.pool import Pool

if TYPE_CHECKING:
    from benchmarks.results import Results

    from . import Options

ROWS = 100_000


def measure(room: Room, options: Options, results: Results) -> None:
    base = data.dataset(options.rows)
    leads = data.dataset(ROWS, seed=11, start=16_000_000, onto=base)
    facts = leads.facts
    options.say(f"onto: {ROWS:,} rows onto {base.facts.inserted:,} leads that hold {facts.existing:,} of them")
    room.drop(FULL)
    with room.admin() as conn:
        conn.execute(f"create database {FULL} template {EMPTY} strategy file_copy")
    psql_copy.load(str(base.clean), room.conninfo(FULL), psql=room.psql)
    with psycopg.connect(room.conninfo(FULL), autocommit=True) as conn:
        conn.execute("vacuum (analyze) mailgenius.leads")
    after = base.facts.inserted + facts.inserted
    both = {"table": after, "inserted": facts.inserted}
    changed = both | {"updated": facts.existing}
    contenders = [
        Contender("mailgenius skip", "ours_bare", str(leads.raw), {"on_existing": "skip"}, template=FULL, expect=both),
        Contender("staging skip", "staging", str(leads.clean), {"how": "skip"}, template=FULL, expect=both),
        Contender(
            "mailgenius update", "ours_bare", str(leads.raw), {"on_existing": "update"}, template=FULL, expect=changed
        ),
        Contender("staging update", "staging", str(leads.clean), {"how": "update"}, template=FULL, expect=changed),
        Contender(
            "mailgenius update, no undo",
            "ours_bare",
            str(leads.raw),
            {"on_existing": "update", "keep_undo": False},
            template=FULL,
            expect=changed,
        ),
    ]
    found = room.race(contenders, options.runs, options.say)
    with Pool(room.conninfo(FULL)) as pool:
        ensure_orders(pool)
    with psycopg.connect(room.conninfo(FULL), autocommit=True) as conn:
        conn.execute("vacuum (analyze) mailgenius.leads")
    indexed = [msgspec.structs.replace(one, name=f"{one.name}, all indexes") for one in contenders[:4]]
    found |= room.race(indexed, options.runs, options.say)
    room.drop(FULL)
    results.forget("onto")
    for name, outcomes in found.items():
        results.put_race("onto", name, outcomes, command=options.command("onto"))
    for how in ("skip", "update"):
        ratio = middle(found[f"mailgenius {how}"]) / middle(found[f"staging {how}"])
        options.say(f"  {how}: mailgenius / staging = {ratio:.3f}")
