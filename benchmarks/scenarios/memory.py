"""Peak memory of an import, above a Python that has everything imported. ``--scale`` adds ten million rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.room import Contender, Room

if TYPE_CHECKING:
    from benchmarks.results import Results

    from . import Options


def measure(room: Room, options: Options, results: Results) -> None:
    sizes = [options.rows]
    if options.scale:
        sizes.append(10_000_000)
    for rows in sizes:
        leads = data.dataset(rows, tidy=rows == options.rows)
        facts = leads.facts
        expect = {"table": facts.inserted, "inserted": facts.inserted, "rejected": facts.rejected}
        options.say(f"memory: {rows:,} rows, {facts.bytes / 1e6:.0f} MB")
        one = room.run(Contender(f"mailgenius {rows}", "ours", str(leads.raw), expect=expect))
        name = f"memory/{rows // 1_000_000}M rows" if rows >= 1_000_000 else f"memory/{rows} rows"
        command = options.command("memory") + (" --scale" if rows == 10_000_000 else "")
        results.put(name, [one.rss / 2**20], "MiB", load=one.load, command=command)
        results.put(f"{name}: time", [one.seconds], "s", load=one.load, command=command)
        options.say(f"  {one.rss / 2**20:.0f} MiB, {one.seconds:.1f} s")
