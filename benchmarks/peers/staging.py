"""The textbook upsert of an already clean file: COPY into a temporary table, INSERT … ON CONFLICT … RETURNING.

``how``: skip (DO NOTHING) or update (DO UPDATE with what the file says). RETURNING is how such code learns which rows
were new, so its answer is fetched. The temporary table has no index and writes no WAL: the fastest kind.
"""

from __future__ import annotations

import psycopg

from benchmarks.data import COLUMNS

from . import Counts

FIELDS = [c.strip() for c in COLUMNS.split(",")]


def load(path: str, conninfo: str, *, how: str = "skip") -> Counts:
    inserted = updated = 0
    with psycopg.connect(conninfo) as conn, conn.cursor() as cur:
        cur.execute(f"create temp table staging on commit drop as select {COLUMNS} from mailgenius.leads with no data")
        with open(path, "rb") as file, cur.copy(f"copy staging ({COLUMNS}) from stdin") as copy:  # noqa: PTH123
            while piece := file.read(1 << 20):
                copy.write(piece)
        if how == "skip":
            action = "do nothing returning id, email, true"
        else:
            sets = ", ".join(f"{f} = excluded.{f}" for f in FIELDS if f not in ("workspace_id", "email"))
            action = f"do update set {sets}, updated_at = now() returning id, email, xmax = 0"
        cur.execute(
            f"insert into mailgenius.leads ({COLUMNS}) select {COLUMNS} from staging"
            f" on conflict (workspace_id, email) {action}",
            binary=True,
        )
        for _, _, new in cur.fetchall():
            if new:
                inserted += 1
            else:
                updated += 1
    return Counts(inserted=inserted, updated=updated)
