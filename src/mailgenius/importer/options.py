"""The options of one import. They are stored with it, so that ``resume`` does exactly what ``run`` was told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from mailgenius._native import LEAD_FIELDS
from mailgenius.errors import ConfigError

__all__ = ["UPDATABLE", "ImportOptions", "make_options"]

OnExisting = Literal["skip", "update", "fail"]
Dates = Literal["auto", "iso", "dmy", "mdy"]

#: Fields that an update may change: an address is who somebody is, and created_at when we met.
UPDATABLE = tuple(name for name in LEAD_FIELDS if name not in ("email", "created_at"))


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    columns: dict[str, str] | None = None  # header name -> lead field, "attributes", "attribute:<name>" or "ignore"
    on_existing: OnExisting = "skip"  # what happens to a lead that is already there
    update_columns: tuple[str, ...] | None = None  # None: every field that the source maps
    tags: tuple[str, ...] = ()  # added to every lead of the import
    dates: Dates = "auto"  # order of day and month in dates like 03/04/2026
    encoding: str | None = None  # None: detected
    delimiter: str | None = None  # None: detected among , ; tab |
    quote: str | None = None  # None: detected; "": no quoting
    has_header: bool | None = None  # None: detected
    atomic: bool = False  # one transaction for the whole import
    pad_short_rows: bool = False  # fill records with too few fields instead of rejecting them
    allow_quoted: bool = False  # accept "quoted"@example.com
    allow_special_use: bool = False  # accept top labels such as .test and .local
    keep_undo: bool = True  # keep what an update overwrote, for undo


def _text(name: str, value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{name}: expected str, got {type(value).__name__}")
    return value


def make_options(
    *,
    columns: Mapping[str, str] | None,
    on_existing: str,
    update_columns: Iterable[str] | None,
    tags: Iterable[str],
    dates: str,
    encoding: str | None,
    delimiter: str | None,
    quote: str | None,
    **flags: bool | None,
) -> ImportOptions:
    """Checks what the caller gave and makes the stored form of it; ConfigError names the option and the mistake."""
    if on_existing not in get_args(OnExisting):
        raise ConfigError(f"on_existing: {on_existing!r} is none of {', '.join(get_args(OnExisting))}")
    if dates not in get_args(Dates):
        raise ConfigError(f"dates: {dates!r} is none of {', '.join(get_args(Dates))}")
    if isinstance(tags, str):
        raise ConfigError(f"tags: give a list of tags, such as [{tags!r}], not one str")
    tags = tuple(tags)
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or "\0" in tag:
            raise ConfigError(f"tags: {tag!r} is not a tag (a str that is not empty and holds no NUL)")
    if update_columns is not None:
        if isinstance(update_columns, str):
            raise ConfigError(f"update_columns: give a list, such as [{update_columns!r}], not one str")
        update_columns = tuple(update_columns)
        if on_existing != "update":
            raise ConfigError(
                f'update_columns: has no meaning with on_existing="{on_existing}"; use on_existing="update"'
            )
        for name in update_columns:
            if name not in UPDATABLE:
                raise ConfigError(f"update_columns: {name!r} is none of {', '.join(UPDATABLE)}")
    for name, value in (("delimiter", delimiter), ("quote", quote)):
        _text(name, value)
        if value and (len(value.encode()) != 1 or value in "\r\n"):
            raise ConfigError(f"{name}: {value!r} is not one ASCII character other than a line end")
    if delimiter == "":
        raise ConfigError('delimiter: may not be empty; leave it out to have it detected, or give one such as ","')
    if delimiter is not None and delimiter == (quote or '"'):
        raise ConfigError(f"delimiter: {delimiter!r} is the quote as well")
    return ImportOptions(
        columns=dict(columns) if columns is not None else None,
        on_existing=on_existing,  # type: ignore[arg-type]
        update_columns=update_columns,
        tags=tuple(dict.fromkeys(tag.strip() for tag in tags)),
        dates=dates,  # type: ignore[arg-type]
        encoding=_text("encoding", encoding),
        delimiter=delimiter,
        quote=quote,
        **flags,  # type: ignore[arg-type]
    )
