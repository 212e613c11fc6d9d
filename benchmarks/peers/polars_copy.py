"""polars (all cores) + psycopg COPY: as fast as data frames get. Counts the bad rows, cannot say which line or why.

The HTML5 pattern is what polars users validate with; ragged rows are cut or filled by read_csv, not reported.
"""

from __future__ import annotations

import io

import polars as pl
import psycopg

from benchmarks.data import COLUMNS

from . import Counts
from .csv_regex import HTML5


def frame(path: str) -> tuple[pl.DataFrame, Counts]:
    raw = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    good = (
        raw.lazy()
        .with_columns(
            pl.col("E-mail").str.strip_chars().str.to_lowercase(),
            pl.col("Score").cast(pl.Int32, strict=False),
            pl.col("Signup date").str.to_date("%Y-%m-%d", strict=False),
        )
        .filter(
            pl.col("E-mail").str.contains(f"^{HTML5}$"),
            pl.col("Score").is_not_null(),
            pl.col("Signup date").is_not_null(),
            pl.col("Source").is_not_null(),
        )
        .collect()
    )
    one = good.filter(pl.col("E-mail").is_first_distinct())
    return one, Counts(inserted=one.height, duplicates=good.height - one.height, rejected=raw.height - good.height)


def load(path: str, conninfo: str) -> Counts:
    leads, counts = frame(path)
    table = leads.select(
        pl.lit(1).alias("workspace_id"),
        pl.col("E-mail", "First name", "Last name", "Phone", "Company", "City", "Country"),
        pl.concat_str(
            pl.lit("{"), pl.col("Tags").fill_null("").str.replace_all(";", ",", literal=True), pl.lit("}")
        ).alias("t"),
        pl.concat_str(
            pl.lit('{"Plan": "'), pl.col("Plan"), pl.lit('", "Source": "'), pl.col("Source"), pl.lit('"}')
        ).alias("attributes"),
        pl.col("Score", "Signup date"),
    )
    statement = f"copy mailgenius.leads ({COLUMNS}) from stdin (format csv)"
    with psycopg.connect(conninfo) as conn, conn.cursor() as cur, cur.copy(statement) as copy:
        for piece in table.iter_slices(50_000):
            out = io.BytesIO()
            piece.write_csv(out, include_header=False)
            copy.write(out.getvalue())
    return counts
