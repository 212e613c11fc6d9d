"""What screens ask for, in a workspace of 100,000 leads: one lead, a count, a page deep inside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.peers import psql_copy
from benchmarks.room import EMPTY, WORKSPACE, Room
from mailgenius.leads import Leads
from mailgenius.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Results

    from . import Options

ROWS = 100_000


def questions(leads: Leads, emails: list[str], count: int) -> dict[str, Callable[[], object]]:
    """What is asked of a workspace of ``count`` leads, by name; each call asks once."""
    turn = iter(emails * 1000)
    deep: str | None = None
    for _ in range(count // 2 // 10_000):
        deep = leads.page(WORKSPACE, limit=10_000, cursor=deep).next
    return {
        "lead by e-mail": lambda: leads.get(WORKSPACE, next(turn)),
        "count": lambda: leads.count(WORKSPACE),
        "page": lambda: leads.page(WORKSPACE, limit=100, cursor=deep),
    }


def measure(room: Room, options: Options, results: Results) -> None:
    made = data.dataset(ROWS)
    conninfo = room.fresh(EMPTY)
    psql_copy.load(str(made.clean), conninfo, psql=room.psql)
    options.say(f"query: {made.facts.inserted:,} leads")
    with Pool(conninfo) as pool:
        asked = questions(Leads(pool), data.sample_emails(made.clean, 500, made.facts.accepted), made.facts.inserted)
        for name, ask in asked.items():
            assert ask()
            times = []
            for _ in range(200):
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
            value = results.put(f"query/{name}", sorted(times)[90:111], "s", command=options.command("query"))
            options.say(f"  {name:<44}{value * 1000:10.3f} ms")
