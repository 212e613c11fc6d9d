"""How a source is to be read: dialect, header, mapping and date order, decided from its first rows and the options.

Pure: a sample goes in, a ``Reading`` comes out. The preview and the import use the same decision.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mailgenius._native import LEAD_FIELDS, Batch, CsvScanner, Plan
from mailgenius.errors import SourceError
from mailgenius.importer import dates as date_order
from mailgenius.importer import dialect as dialects
from mailgenius.importer import header as headers
from mailgenius.importer.options import ImportOptions

__all__ = ["FIELD_CHARS", "Reading", "interpret_arrow", "interpret_csv", "make_plan", "make_scanner"]

#: Longest value of each lead field, in characters. An address has its own rules, in octets.
FIELD_CHARS = {
    "email": 1_000_000,
    "first_name": 200,
    "last_name": 200,
    "phone": 64,
    "company": 300,
    "city": 200,
    "country": 100,
    "tags": 100,
    "status": 32,
    "score": 32,
    "created_at": 64,
}
ATTRIBUTE_CHARS = 10_000

_DATES = {"iso": 0, "dmy": 1, "mdy": 2}
_SAMPLE_ROWS = 1000
_EMAIL = LEAD_FIELDS.index("email")
_CREATED_AT = LEAD_FIELDS.index("created_at")
_ROW_REASONS = ("row.fields", "row.quote_unclosed", "row.too_long", "row.too_many_columns")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The decision."""

    dialect: dialects.Dialect
    has_header: bool
    header: list[str]
    targets: list[int]  # per column: lead field, -1 attribute, -2 ignored
    names: list[str]  # per column: attribute name
    mapping: dict[str, str]
    dates: str
    address_options: int
    warnings: list[str]
    sample: list[tuple[int, list[bytes]]]  # (line, fields) of the first rows

    @property
    def email_column(self) -> int:
        return self.targets.index(_EMAIL)

    @property
    def lead_fields(self) -> frozenset[str]:
        """The lead fields that the source says something about."""
        mapped = {LEAD_FIELDS[target] for target in self.targets if target >= 0}
        return frozenset(mapped | ({"attributes"} if -1 in self.targets else set()))

    def column_name(self, column: int, code: str) -> str:
        """Header name of the column a reason is about; "" when it is about the record."""
        if code in _ROW_REASONS or column >= len(self.header):
            return ""
        return self.header[column]


def interpret_csv(sample: bytes, complete: bool, options: ImportOptions) -> Reading:
    """Decides how CSV text is read. ``complete``: the sample is the whole text. SourceError: it can't be imported."""
    dialect = dialects.sniff(sample, complete)
    dialect = dialects.Dialect(
        dialect.delimiter if options.delimiter is None else options.delimiter.encode(),
        dialect.quote if options.quote is None else options.quote.encode(),
        dialect.skip,
    )
    scanner, batch = make_scanner(dialect), Batch()
    scanner.scan(batch, sample, dialect.skip, len(sample), complete, _SAMPLE_ROWS + 1)
    rows = [(batch.line(i), batch.row(i)) for i in range(len(batch))]
    batch.clear()
    if not rows:
        if not complete:
            raise SourceError(
                f"no line end within the first {len(sample):,} bytes: the header would be longer than that. "
                "Is this a CSV file, and is the quote character right?"
            )
        raise SourceError("the source holds no rows, not even a header")
    first = [field.decode("utf-8", "replace") for field in rows[0][1]]
    has_header = options.has_header if options.has_header is not None else headers.looks_like_header(first)
    body = rows[1:] if has_header else rows
    names = first if has_header else [f"column_{i + 1}" for i in range(len(first))]
    return _decide(names, body, options, dialect, has_header)


def interpret_arrow(names: Sequence[str], rows: list[tuple[int, list[bytes]]], options: ImportOptions) -> Reading:
    """Decides how the columns of an Arrow stream are read."""
    return _decide(list(names), rows, options, dialects.Dialect(b",", b'"'), True)


def _decide(
    names: list[str],
    body: list[tuple[int, list[bytes]]],
    options: ImportOptions,
    dialect: dialects.Dialect,
    has_header: bool,
) -> Reading:
    texts = [[field.decode("utf-8", "replace") for field in row] for _, row in body]
    plan = headers.match(names, columns=options.columns, has_header=has_header, rows=texts)
    order, warnings = str(options.dates), list(plan.warnings)
    if order == "auto":
        order = "iso"
        if _CREATED_AT in plan.targets:
            column = plan.targets.index(_CREATED_AT)
            values = [row[column] for row in texts if column < len(row) and row[column]]
            order, doubts = date_order.detect(values, plan.header[column])
            warnings += doubts
    return Reading(
        dialect=dialect,
        has_header=has_header,
        header=plan.header,
        targets=plan.targets,
        names=plan.names,
        mapping=plan.mapping,
        dates=order,
        address_options=(1 if options.allow_quoted else 0) | (2 if options.allow_special_use else 0),
        warnings=warnings,
        sample=body,
    )


def make_scanner(
    dialect: dialects.Dialect, max_field: int = 1 << 20, max_row: int = 16 << 20, max_columns: int = 4096
) -> CsvScanner:
    """A scanner that begins behind what the dialect skips. Limits in bytes and columns."""
    return CsvScanner(
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        max_field=max_field,
        max_row=max_row,
        max_columns=max_columns,
        line=2 if dialect.skip else 1,
    )


def make_plan(reading: Reading, options: ImportOptions) -> Plan:
    """The kernel's form of a reading."""
    return Plan(
        reading.targets,
        [ATTRIBUTE_CHARS if target < 0 else FIELD_CHARS.get(LEAD_FIELDS[target], 0) for target in reading.targets],
        reading.names,
        pad=options.pad_short_rows,
        address_options=reading.address_options,
        dates=_DATES[reading.dates],
        tags=options.tags,
        quote=reading.dialect.quote[0] if reading.dialect.quote else 0,
    )
