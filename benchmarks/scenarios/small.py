"""100,000 leads into an empty workspace: what most imports are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.room import Contender, Room, middle

if TYPE_CHECKING:
    from benchmarks.results import Results

    from . import Options

ROWS = 100_000


def measure(room: Room, options: Options, results: Results) -> None:
    leads = data.dataset(ROWS)
    facts = leads.facts
    contenders = [
        Contender(
            "mailgenius",
            "ours",
            str(leads.raw),
            expect={
                "table": facts.inserted,
                "inserted": facts.inserted,
                "duplicates": facts.duplicates,
                "rejected": facts.rejected,
            },
        ),
        Contender("psql text", "psql_copy", str(leads.clean), expect={"table": facts.inserted}),
    ]
    options.say(f"small: {ROWS:,} rows into an empty workspace")
    found = room.race(contenders, max(options.runs, 5), options.say)
    for name, outcomes in found.items():
        results.put_race("small", name, outcomes, command=options.command("small"))
    options.say(f"  mailgenius / psql text = {middle(found['mailgenius']) / middle(found['psql text']):.3f}")
