"""polars + ADBC (Arrow to COPY BINARY in C++). Writes no jsonb: tags, attributes left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import polars as pl

from . import polars_copy

if TYPE_CHECKING:
    from . import Counts


def load(path: str, conninfo: str) -> Counts:
    leads, counts = polars_copy.frame(path)
    table = leads.select(
        pl.lit(1, pl.Int32).alias("workspace_id"),
        pl.col("E-mail").alias("email"),
        pl.col("First name").alias("first_name"),
        pl.col("Last name").alias("last_name"),
        pl.col("Phone").alias("phone"),
        pl.col("Company").alias("company"),
        pl.col("City").alias("city"),
        pl.col("Country").alias("country"),
        pl.col("Score").alias("score"),
        pl.col("Signup date").cast(pl.Datetime("us", "UTC")).alias("created_at"),
    )
    with adbc.connect(conninfo) as conn, conn.cursor() as cur:
        cur.adbc_ingest("leads", table.to_arrow(), mode="append", db_schema_name="mailgenius")
        conn.commit()
    return counts
