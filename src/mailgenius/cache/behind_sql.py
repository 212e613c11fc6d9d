"""The statements and rows of ``PostgresUpserts``. Pure.

A batch is one parameter: a JSON array that ``json_populate_recordset`` reads as rows of the table, so that every type that
the table knows can be written, and no type has to be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .behind import Item

__all__ = ["Statements", "rows", "statements"]

_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_json = msgspec.json.Encoder().encode


class Statements(msgspec.Struct, frozen=True):
    """Each of the first two takes the rows as its only parameter."""

    upsert: str
    delete: str
    highest: str


def statements(table: str, key: Sequence[str], columns: Sequence[str], version: str, deleted: str | None) -> Statements:
    """``key`` with the tenant's column, if there is one. Raises ``ConfigError`` for what is no name."""
    named = ".".join(_name(part, "table") for part in table.split("."))
    keys, values = [_name(name, "key") for name in key], [_name(name, "columns") for name in columns]
    mark = _name(version, "version")
    if len({*keys, *values, mark}) != len(keys) + len(values) + 1 or not keys:
        raise ConfigError(
            "PostgresUpserts: key, columns and version are to name different columns, the key at least one"
        )
    gone = [] if deleted is None else [_name(deleted, "deleted")]
    source = f"json_populate_recordset(null::{named}, %s::json)"
    newer = f"(t.{mark} is null or t.{mark} < {{}}.{mark})"

    def insert(some: Sequence[str]) -> str:
        names = ", ".join([*keys, *some])
        sets = ", ".join(f"{name} = excluded.{name}" for name in some)
        update = f"({', '.join(keys)}) do update set {sets} where {newer.format('excluded')}"
        return f"insert into {named} as t ({names}) select {names} from {source} on conflict {update}"  # noqa: S608 - checked

    same = " and ".join(f"t.{name} = d.{name}" for name in keys)
    plain = f"delete from {named} t using {source} d where {same} and {newer.format('d')}"  # noqa: S608 - checked names
    return Statements(
        upsert=insert([*values, mark, *gone]),
        delete=insert([mark, *gone]) if gone else plain,
        highest=f"select max({mark}) from {named}",  # noqa: S608 - checked names
    )


def _name(name: str, what: str) -> str:
    if not _IDENT.fullmatch(name):
        raise ConfigError(f"PostgresUpserts: {what}: {name!r} is no plain name of a table or column")
    return f'"{name}"'


def rows(
    items: Sequence[Item],
    key: Sequence[str],
    columns: Sequence[str],
    version: str,
    deleted: str | None,
    tenant: str | None,
    whole: bool,
) -> bytes:
    """Items as JSON, in the order of their keys, so that two writers do not wait for one another. ``whole``: the value is
    that of the only column, not something with fields of these names. Raises ValueError for what does not fit."""
    made = []
    for item in items:
        parts = item.key if isinstance(item.key, tuple) else (item.key,)
        if len(parts) != len(key):
            raise ValueError(
                f"the key {item.key!r} has {len(parts)} parts, and PostgresUpserts {len(key)} columns for them"
            )
        row: dict[str, Any] = dict(zip(key, parts, strict=True))
        if tenant is not None:
            row[tenant] = item.tenant
        elif item.tenant is not None:
            raise ValueError(f"{item.key!r} belongs to tenant {item.tenant!r}: give PostgresUpserts a column (tenant=)")
        row[version] = item.version
        if deleted is not None:
            row[deleted] = item.deleted
        if not item.deleted:
            for name in columns:
                row[name] = _column(item.value if whole else _field(item.value, name))
        made.append((tuple(map(str, (item.tenant, *parts))), row))
    made.sort(key=lambda pair: pair[0])
    return _json([row for _, row in made])


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value[name]
    return getattr(value, name)


def _column(value: Any) -> Any:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value
