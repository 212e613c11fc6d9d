"""A whole file into an empty workspace: raw for those who parse and check, clean for those who only copy.

Nobody makes the indexes that a large table gets (``leads.orders``): they take the same time whoever loaded it. A line of
its own says what they add to an import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks import data
from benchmarks.room import EMPTY, Contender, Room, middle

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results

    from . import Options

ORDER = "order by workspace_id, email"


def _files(room: Room, leads: data.Dataset) -> dict[str, str]:
    """The clean file in PostgreSQL's binary format: as it is, sorted, and sorted in two halves."""
    stem = leads.clean.with_suffix("")
    names = {k: stem.with_suffix(f".{k}.bin") for k in ("plain", "sorted", "low", "high")}
    if not all(path.exists() for path in names.values()):
        from benchmarks.peers import psql_copy

        conninfo = room.fresh(EMPTY)
        psql_copy.load(str(leads.clean), conninfo, psql=room.psql)
        with psycopg.connect(conninfo) as conn:
            half = conn.execute(
                "select email from mailgenius.leads order by email offset %s limit 1", [leads.facts.inserted // 2]
            ).fetchone()[0]  # type: ignore[index]
        table = f"select {data.COLUMNS} from mailgenius.leads"
        assert "'" not in half
        room.copy_out(conninfo, f"{table} order by id", names["plain"])
        room.copy_out(conninfo, f"{table} {ORDER}", names["sorted"])
        room.copy_out(conninfo, f"{table} where email < '{half}' {ORDER}", names["low"])
        room.copy_out(conninfo, f"{table} where email >= '{half}' {ORDER}", names["high"])
    return {name: str(path) for name, path in names.items()}


def _first_rows(leads: data.Dataset, rows: int) -> Path:
    """A smaller file for a rival that would take minutes."""
    return data.dataset(rows).raw


def measure(room: Room, options: Options, results: Results) -> None:
    leads = data.dataset(options.rows)
    raw, clean, facts = str(leads.raw), str(leads.clean), leads.facts
    files = _files(room, leads)
    right = {"table": facts.inserted}
    exact: dict[str, Any] = right | {
        "inserted": facts.inserted,
        "duplicates": facts.duplicates,
        "rejected": facts.rejected,
    }
    small = min(options.rows, 200_000)
    with room.admin() as conn:
        conn.execute("drop database if exists bench_bare with (force)")
        conn.execute(f"create database bench_bare template {EMPTY} strategy file_copy")
    with psycopg.connect(room.conninfo("bench_bare")) as conn:
        conn.execute("create table floor (like mailgenius.leads including defaults including identity)")
    contenders = [
        Contender("mailgenius", "ours_bare", raw, expect=exact),
        Contender("mailgenius, and the indexes of a large table", "ours", raw, expect=exact),
        Contender("psql text", "psql_copy", clean, expect=right),
        Contender("psql binary", "psql_copy", files["plain"], {"binary": True}, expect=right),
        Contender("psql binary sorted", "psql_copy", files["sorted"], {"binary": True}, expect=right),
        Contender(
            "psql binary sorted, 2 connections",
            "psql_copy",
            f"{files['low']}:{files['high']}",
            {"binary": True},
            expect=right,
        ),
        Contender(
            "psql binary, no index",
            "psql_copy",
            files["plain"],
            {"binary": True, "table": "floor"},
            template="bench_bare",
        ),
    ]
    if options.peers:
        contenders += [
            Contender("csv + emval + copy", "csv_emval", raw),
            Contender("csv + HTML5 regex + copy", "csv_regex", raw),
            Contender("polars + copy", "polars_copy", raw),
            Contender("polars + ADBC", "polars_adbc", raw),
            Contender("Node csv-parser + pg", "node_pg", str(_first_rows(leads, small)), scale=small / options.rows),
            Contender(
                "csv + email-validator + copy",
                "csv_email_validator",
                str(_first_rows(leads, small)),
                scale=small / options.rows,
            ),
        ]
    options.say(f"full: {options.rows:,} rows, {facts.bytes / 1e6:.0f} MB, into an empty workspace")
    found = room.race(contenders, options.runs, options.say)
    room.drop("bench_bare")
    command = options.command("full")
    for contender in contenders:
        outcomes = found[contender.name]
        notes = []
        if contender.scale < 1:
            notes.append(f"ran on {small:,} rows; time scaled")
        one = outcomes[0]
        if one.rejected is not None and contender.scale == 1 and not contender.module.startswith("ours"):
            wrong = abs(one.inserted - facts.inserted)
            notes.append(
                f"imports {one.inserted - facts.inserted:+,} leads against the truth" if wrong else "right count"
            )
        results.put_race("full", contender.name, outcomes, note="; ".join(notes), command=command)
    ours = found["mailgenius"]
    results.put("full/mailgenius: rows/s", [facts.rows / o.seconds for o in ours], "rows/s", command=command)
    options.say(f"  mailgenius / psql text = {middle(ours) / middle(found['psql text']):.3f}")
