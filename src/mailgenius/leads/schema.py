"""The schema ``mailgenius`` and its numbered migrations (``migrations/NNNN_name.sql``).

Invariants: all pending migrations are applied in one transaction, so the schema is of one version or another, never
between; an advisory lock lets several processes migrate at once, and the later ones find nothing to do; a migration
that was applied is never edited (its checksum is kept). Indexes that a small table does without are made here too, once
it is large (``orders``).
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from mailgenius.errors import SchemaError

from .orders import make_orders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mailgenius.pool import Pool

__all__ = ["Migration", "MigrationStatus", "check_schema", "migrate", "migration_status", "migrations"]

OLDEST = 150000  # PostgreSQL 15
LOCK = 0x6D61696C67656E  # "mailgen": the same for every database, each has its own lock space


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str
    checksum: str  # SHA-256 of the file, in hex


class MigrationStatus(msgspec.Struct, frozen=True):
    number: int
    name: str
    applied_at: datetime | None  # None: pending


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations this version of mailgenius brings, in order."""
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            data = file.read_bytes()
            found.append(Migration(int(match[1]), match[2], data.decode(), hashlib.sha256(data).hexdigest()))
    found.sort(key=lambda migration: migration.number)
    return tuple(found)


def migrate(database: Pool | psycopg.Connection[Any]) -> list[Migration]:
    """Brings the schema up to date; the migrations applied now, none if it already was. Safe to run by many at once.

    A connection given must not be inside a transaction. Raises ``SchemaError`` if the schema is newer than this
    mailgenius, if a migration was edited after it was applied, or if PostgreSQL is older than 15.
    """
    if isinstance(database, psycopg.Connection):
        with database.transaction():
            return _migrate(database)
    with database.transaction() as connection:
        return _migrate(connection)


def _migrate(connection: psycopg.Connection[Any]) -> list[Migration]:
    _require_version(connection)
    # What others committed while we waited for a lock must be seen, whatever this database's default is.
    connection.execute("set transaction isolation level read committed")
    connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
    applied = _applied(connection)
    pending = list(_pending(applied))
    if not pending:
        make_orders(connection)
        return []
    if not applied:
        try:
            connection.execute("create schema if not exists mailgenius")
            connection.execute(
                "create table if not exists mailgenius.schema_migrations ("
                " number integer primary key, name text not null, checksum text not null,"
                " applied_at timestamptz not null default clock_timestamp())"
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaError(
                f"The role {connection.info.user} may not create the schema mailgenius in {connection.info.dbname}."
                " As its"
                f' owner: GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{connection.info.user}"'
            ) from error
    for migration in pending:
        try:
            connection.execute(migration.sql.encode())
        except psycopg.ProgrammingError as error:
            raise SchemaError(
                f"Migration {migration.number:04} {migration.name} failed, nothing was changed: {error}. If tables were"
                " made in schema mailgenius by hand, move them away."
            ) from error
        connection.execute(
            "insert into mailgenius.schema_migrations (number, name, checksum) values (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )
    make_orders(connection)
    return pending


def migration_status(database: Pool | psycopg.Connection[Any]) -> list[MigrationStatus]:
    """Every migration of this mailgenius and when it was applied. Changes nothing. Raises ``SchemaError`` as
    ``migrate``."""
    if isinstance(database, psycopg.Connection):
        return _status(database)
    with database.connection() as connection:
        return _status(connection)


def _status(connection: psycopg.Connection[Any]) -> list[MigrationStatus]:
    _require_version(connection)
    applied = _applied(connection)
    list(_pending(applied))
    return [
        MigrationStatus(known.number, known.name, applied[known.number][2] if known.number in applied else None)
        for known in migrations()
    ]


def check_schema(database: Pool | psycopg.Connection[Any]) -> None:
    """Raises ``SchemaError`` unless the schema is exactly what this mailgenius works with."""
    pending = [status for status in migration_status(database) if status.applied_at is None]
    if pending:
        missing = (
            "is missing" if len(pending) == len(migrations()) else "is older than this version of mailgenius needs"
        )
        raise SchemaError(
            f"The schema mailgenius {missing} ({len(pending)} migrations are pending). Run `mailgenius migrate`, or"
            " open"
            " with migrate=True."
        )


def _require_version(connection: psycopg.Connection[Any]) -> None:
    found = connection.info.server_version
    if found < OLDEST:
        raise SchemaError(
            f"PostgreSQL 15 or newer is needed, {connection.info.host} runs {found // 10000}.{found % 10000}."
            " Upgrade the"
            " server, or leave database_url out to use the embedded one."
        )


def _applied(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, str, datetime]]:
    there = connection.execute("select to_regclass('mailgenius.schema_migrations') is not null").fetchone()
    if there is None or not there[0]:
        return {}
    rows = connection.execute("select number, name, checksum, applied_at from mailgenius.schema_migrations").fetchall()
    return {number: (name, checksum, at) for number, name, checksum, at in rows}


def _pending(applied: dict[int, tuple[str, str, datetime]]) -> Iterator[Migration]:
    """Those not yet applied, in order, after checking that those applied are the ones we know."""
    known = {migration.number: migration for migration in migrations()}
    for number, (name, checksum, _) in sorted(applied.items()):
        if number not in known:
            raise SchemaError(
                f"The schema mailgenius is newer than this version of mailgenius: it has migration {number:04}"
                f" {name}, we"
                f" know those up to {max(known):04}. Install the newer mailgenius."
            )
        if checksum != known[number].checksum:
            raise SchemaError(
                f"Migration {number:04} {name} was applied with other content than this mailgenius has"
                f" ({known[number].name}). Applied migrations are never edited: install the version that made the"
                " schema, or"
                " restore the file."
            )
    for number, migration in sorted(known.items()):
        if number not in applied:
            yield migration
