"""Keyset pages: orders, cursors, and the conditions that go on from one. Pure.

A cursor names the last lead of a page by its value in the order's column and its number, so what others insert or delete
meanwhile neither repeats nor skips a lead. Leads without a value come last, whichever the direction.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .model import Lead
from .segment_check import integer, moment, text

#: column -> (its type, may it be NULL)
ORDERS: dict[str, tuple[str, bool]] = {
    "id": ("int8", False),
    "email": ("text", False),
    "created_at": ("timestamptz", False),
    "updated_at": ("timestamptz", False),
    "score": ("int4", False),
    "status": ("text", False),
    "first_name": ("text", True),
    "last_name": ("text", True),
    "company": ("text", True),
    "phone": ("text", True),
    "city": ("text", True),
    "country": ("text", True),
}
#: the index of an order; the last two in large tables
INDEXED = {"id": "leads_pkey", "email": "leads_email", "created_at": "leads_created", "score": "leads_score"}
_UNIQUE = ("id", "email")  # no second column is needed to tell two leads apart
_VERSION = 1
_LONGEST = 65_536  # of a cursor: a name is as long as its column lets it be
_BAD = "cursor: is none that a page gave as next or previous"


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in an order, and which way to go from it."""

    version: int
    order: str
    descending: bool
    back: bool  # to the previous page
    inclusive: bool  # the lead at the place belongs to the page
    value: int | str | None
    id: int


def cursor_to(lead: Lead, order: str, *, descending: bool, back: bool) -> str:
    """The cursor that goes on from ``lead``."""
    value = getattr(lead, order)
    if isinstance(value, datetime):
        value = value.isoformat()
    return _written(Cursor(_VERSION, order, descending, back, False, value, lead.id))


def turned(cursor: Cursor) -> str:
    """The way back to where ``cursor`` came from."""
    return _written(msgspec.structs.replace(cursor, back=not cursor.back, inclusive=not cursor.inclusive))


def read_cursor(given: str, order: str, descending: bool) -> Cursor:
    """The cursor again. ``ConfigError`` if it is not one of this order."""
    if not isinstance(given, str) or len(given) > _LONGEST:
        raise ConfigError(_BAD)
    try:
        data = base64.b64decode(given.encode("ascii") + b"=" * (-len(given) % 4), b"-_", validate=True)
        cursor = msgspec.msgpack.decode(data, type=Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise ConfigError(_BAD) from error
    if cursor.version != _VERSION or cursor.order not in ORDERS:
        raise ConfigError(f"{_BAD} in this version of mailgenius")
    if (cursor.order, cursor.descending) != (order, descending):
        made = f"order={cursor.order!r}, descending={cursor.descending}"
        raise ConfigError(f"cursor: is of a page with {made}, not order={order!r}, descending={descending}")
    try:
        integer("id", cursor.id, low=-(1 << 63), high=(1 << 63) - 1)
        _value(cursor)
    except ValueError as error:
        raise ConfigError(_BAD) from error
    return cursor


def check_order(order: str) -> str:
    if order not in ORDERS:
        raise ConfigError(f"order: {order!r} is none of {', '.join(ORDERS)}")
    return order


def keyset(order: str, descending: bool, cursor: Cursor | None) -> tuple[list[str], str, dict[str, Any]]:
    """The reaches of a page, its ORDER BY, and the parameters. A second reach goes on where the first one ends."""
    kind, nullable = ORDERS[order]
    back = cursor is not None and cursor.back
    ascending = descending == back
    column = f"l.{order}"
    with_value, without = f"{column} is not null", f"{column} is null"
    keys = [column] if order in _UNIQUE else [column, "l.id"]
    by = ", ".join(f"{key} {'asc' if ascending else 'desc'}" for key in keys)
    if cursor is None:
        return ([with_value, without] if nullable else ["true"]), by, {}
    beyond = (">" if ascending else "<") + ("=" if cursor.inclusive else "")
    if cursor.value is None:
        here = f"({without} and l.id {beyond} %(at_id)s::int8)"
        return ([here, with_value] if back else [here]), by, {"at_id": cursor.id}
    params: dict[str, Any] = {"at": _value(cursor)}
    if order in _UNIQUE:
        here = f"{column} {beyond} %(at)s::{kind}"
    else:
        here = f"({column}, l.id) {beyond} (%(at)s::{kind}, %(at_id)s::int8)"
        params["at_id"] = cursor.id
    return ([here, without] if nullable and not back else [here]), by, params


def _value(cursor: Cursor) -> Any:
    kind, nullable = ORDERS[cursor.order]
    value = cursor.value
    if value is None and nullable:
        return None
    if kind == "timestamptz":
        return moment("value", datetime.fromisoformat(text("value", value)))
    if kind == "text":
        return text("value", value, empty=True)
    bits = 31 if kind == "int4" else 63
    return integer("value", value, low=-(1 << bits), high=(1 << bits) - 1)


def _written(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).rstrip(b"=").decode()
