"""``make demo``: an embedded PostgreSQL, a realistic file of 100,000 leads, and what became of every row.

Uses a temporary folder and its own server only: settings, environment and databases of the user are not looked at.
Ends with status 1 if any count differs from what the generator knows to be true.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

import mailgenius
from mailgenius.cli import render
from mailgenius.cli.progress import ProgressBars
from mailgenius.config import Settings

from . import data

WORKSPACE = "demo"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="mailgenius-demo-") as folder:
        return _demo(console, Path(folder), rows)


def _demo(console: Console, folder: Path, rows: int) -> int:
    path, rejects = folder / "leads.csv", folder / "rejects.csv"
    facts = data.write_leads(path, rows)
    console.print(f"Wrote {path.name}: {facts.rows:,} rows, {facts.bytes / 1e6:.1f} MB. A few lines of it:")
    with path.open(encoding="utf-8") as lines:
        for _ in range(4):
            console.print(Text("  " + next(lines).rstrip("\n"), "dim"), overflow="ellipsis", no_wrap=True)
    began = time.perf_counter()
    # A Settings object stands alone: neither MAILGENIUS_* nor a mailgenius.toml can lead to a real database.
    with mailgenius.open(config=Settings(), home=folder / "home") as mg:
        version = mg.pool.fetch_value("show server_version")
        console.print(f"\nPostgreSQL {version} is up, from a wheel, after {time.perf_counter() - began:.1f} s.\n")
        with ProgressBars(console) as bars:
            report = mg.importer.run(path, workspace=WORKSPACE, rejects=rejects, on_progress=bars)
        console.print(render.report(report))
        _some_leads(console, mg)
        _some_rejects(console, rejects)
        wrong = data.differences(report, facts)
        emails = [email for (email,) in mg.pool.fetch("select email from mailgenius.leads")]
        if len(emails) != facts.inserted:
            wrong.append(f"the table holds {len(emails):,} leads, must hold {facts.inserted:,}")
        elif data.crc_of(emails) != facts.email_crc:
            wrong.append("the table holds other addresses than the file")
    if wrong:
        for text in wrong:
            console.print(Text(f"WRONG: {text}", "bold red"))
        return 1
    console.print(
        f"\nEvery count, reason and line above agrees with what the generator knows: {facts.rows:,} rows = "
        f"{facts.inserted:,} new + {facts.duplicates:,} duplicates + {facts.rejected:,} rejected, "
        f"at {report.rows_per_second:,.0f} rows/s."
    )
    return 0


def _some_leads(console: Console, mg: mailgenius.Mailgenius) -> None:
    table = Table("email", "name", "company", "city", "tags", "score", box=None, header_style="bold", pad_edge=False)
    for lead in mg.leads.page(WORKSPACE, limit=5).leads:
        name = f"{lead.first_name} {lead.last_name}"
        company = (lead.company or "").replace("\n", " / ")
        cells = (lead.email, name, company, lead.city or "", ", ".join(lead.tags), str(lead.score))
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    console.print(Text("\nSome leads, as they are stored", "bold"))
    console.print(table)


def _some_rejects(console: Console, rejects: Path) -> None:
    """The file of rejected rows, as customers get it back: line, column, reason, and the row as it was."""
    console.print(Text(f"\n{rejects.name}, to be corrected and imported again", "bold"))
    with rejects.open(encoding="utf-8") as lines:
        for text, _ in zip(lines, range(4), strict=False):
            console.print(Text("  " + text.rstrip("\n"), "dim"), overflow="ellipsis", no_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
