"""csv.reader, a validator, a set, psycopg's COPY: the loop that people write by hand, with an account of every bad row.

Kept as fast as plain Python goes: one pass, local names, ``write_row`` (its loop is in C), JSON made from the two
columns without a JSON library. A queue and a second thread for the socket were tried: slower, because of the GIL.
"""

from __future__ import annotations

import csv
from datetime import date
from typing import TYPE_CHECKING

import psycopg

from benchmarks.data import COLUMNS

from . import Counts

if TYPE_CHECKING:
    from collections.abc import Callable


def load(path: str, conninfo: str, check: Callable[[str], str]) -> Counts:
    """``check`` returns the normalised address or raises ValueError (emval: SyntaxError)."""
    rejects: list[tuple[int, str]] = []
    seen: set[str] = set()
    duplicates = 0
    with (
        psycopg.connect(conninfo) as conn,
        conn.cursor() as cur,
        open(path, newline="", encoding="utf-8") as file,  # noqa: PTH123  (as in every example)
    ):
        reader = csv.reader(file)
        columns = len(next(reader))
        iso = date.fromisoformat
        with cur.copy(f"COPY mailgenius.leads ({COLUMNS}) FROM STDIN") as copy:
            write = copy.write_row
            for row in reader:
                if len(row) != columns:
                    rejects.append((reader.line_num, "fields"))
                    continue
                try:
                    email = check(row[0].strip())
                    score = int(row[8])
                    if not -(2**31) <= score < 2**31:
                        raise ValueError("score out of range")
                    iso(row[9])
                except (ValueError, SyntaxError) as error:
                    rejects.append((reader.line_num, str(error)))
                    continue
                if email in seen:
                    duplicates += 1
                    continue
                seen.add(email)
                tags = row[7]
                write((
                    1, email, row[1], row[2], row[3], row[4] or None, row[5], row[6],
                    "{" + tags.replace(";", ",") + "}",
                    f'{{"Plan": "{row[10]}", "Source": "{row[11]}"}}', score, row[9] + " 00:00:00+00",
                ))  # fmt: skip
    return Counts(inserted=len(seen), duplicates=duplicates, rejected=len(rejects))
