"""Reports as rich renderables: values in, something printable out. No text from a file is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailgenius.cli.text import clip, duration, number, percent, size, visible

if TYPE_CHECKING:
    from mailgenius.importer.report import ImportPreview, ImportReport, Problem, UndoReport

__all__ = ["preview", "report", "undone"]

COLUMNS = 40  # of a mapping; a hostile file has thousands
WIDE = 12  # columns side by side in a preview
SHOWN = 10  # problems and duplicates; the files named by --rejects and --duplicates hold all

_OUTCOMES = (
    ("inserted", "green", "new leads"),
    ("updated", "green", "already there, changed"),
    ("existing", "", "already there, left as they were"),
    ("duplicates", "", "same address as an earlier row"),
    ("suppressed", "yellow", "on the suppression list"),
    ("rejected", "red", "see the reasons"),
)
_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}


def report(result: ImportReport, *, strict: bool = False) -> Group:
    """The summary of an import."""
    parts: list[RenderableType] = [_headline(result), Text(), _outcomes(result)]
    if result.reasons:
        parts += [Text(), Text("Reasons", style="bold"), _reasons(result)]
        shown = result.problems[:SHOWN]
        parts += [Text(), _title("Rejected rows", len(shown), result.rejected), _problems(shown)]
    if result.duplicate_lines:
        parts += [Text(), _duplicates(result)]
    parts += _warnings(result.warnings)
    parts += [Text(), *_notes(result)]
    return Group(*parts)


def _headline(result: ImportReport) -> Text:
    rate = number(result.rows / result.seconds) if result.seconds else "0"
    done = f"Dry run of {visible(result.source)}" if result.state == "dry_run" else f"Imported {visible(result.source)}"
    into = f" into {visible(result.workspace)}"
    phases = ", ".join(f"{name} {duration(seconds)}" for name, seconds in result.phases.items())
    return Text.assemble(
        (done + into, "bold"),
        f": {number(result.rows)} rows, {size(result.bytes)} in {duration(result.seconds)}",
        f" ({rate} rows/s{'; ' + phases if phases else ''})",
    )


def _title(what: str, shown: int, of: int) -> Text:
    return Text(f"{what}, the first {shown} of {number(of)}" if shown < of else what, style="bold")


def _table(*columns: str | Text, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns), header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in right else "left", overflow="fold")
    return table


def _outcomes(result: ImportReport) -> Table:
    table = _table("outcome", "rows", "", "", right=(1, 2))
    for name, style, text in _OUTCOMES:
        count: int = getattr(result, name)
        style = style if count else "dim"
        table.add_row(
            Text(name, style), Text(number(count), style), Text(percent(count, result.rows), style), Text(text, "dim")
        )
    table.add_row(Text("total", "bold"), Text(number(result.rows), "bold"))
    return table


def _reasons(result: ImportReport) -> Table:
    from mailgenius.importer.report import reason_text

    table = _table("reason", "rows", "the value", right=(1,))
    for code, count in sorted(result.reasons.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(code, number(count), Text(reason_text(code)))
    return table


def _problems(problems: Iterable[Problem]) -> Table:
    table = _table("line", "column", "reason", "value", right=(0,))
    for problem in problems:
        table.add_row(
            number(problem.line), Text(clip(problem.column, 24)), problem.reason, Text(clip(problem.value, 48))
        )
    return table


def _duplicates(result: ImportReport) -> Text:
    shown = result.duplicate_lines[:SHOWN]
    pairs = ", ".join(f"{number(line)} (first on {number(first)})" for line, first in shown)
    return Text.assemble(
        ("Duplicates", "bold"), f" on lines {pairs}" + (", …" if result.duplicates > len(shown) else "")
    )


def _warnings(warnings: Sequence[str]) -> list[RenderableType]:
    if not warnings:
        return []
    lines = [Text.assemble(("warning ", "yellow"), clip(text, 1_000)) for text in warnings[:SHOWN]]
    if len(warnings) > SHOWN:
        lines.append(Text(f"and {number(len(warnings) - SHOWN)} more", "dim"))
    return [Text(), *lines]


def _notes(result: ImportReport) -> list[RenderableType]:
    notes = [f"Read as {result.encoding}{_delimited(result.delimiter)}: {_mapping(result.mapping)}"]
    if result.rejected and result.rejects:
        notes.append(f"Rejected rows are in {visible(result.rejects)}; correct them there and import that file")
    elif result.rejected and result.state == "done":
        notes.append("Add --rejects FILE to get the rejected rows as a file that can be corrected and imported")
    if result.import_id is not None:
        notes.append(f"Import {result.import_id}; to take it back: mailgenius import --undo {result.import_id}")
    return [Text(note, style="dim") for note in notes]


def _delimited(delimiter: str) -> str:
    return f", {_DELIMITERS.get(delimiter, repr(delimiter))} between fields" if delimiter else ""


def _mapping(mapping: dict[str, str]) -> str:
    pairs = [f"{clip(name, 40)} → {clip(target, 60)}" for name, target in islice(mapping.items(), COLUMNS)]
    return ", ".join(pairs) + _more(len(mapping) - COLUMNS, "columns")


def _more(count: int, what: str) -> str:
    return f", and {number(count)} more {what}" if count > 0 else ""


def preview(result: ImportPreview) -> Group:
    """How a file would be read: dialect, mapping, first rows."""
    about = [
        f"{result.encoding}{_delimited(result.delimiter)}",
        f"quote {result.quote}" if result.quote else "no quotes",
        "first row is the header" if result.has_header else "no header",
        f"dates {result.dates}",
    ]
    columns = _table("column", "field")
    for name, target in islice(result.mapping.items(), COLUMNS):
        columns.add_row(Text(clip(name, 40)), Text(clip(target, 60), "dim" if target == "ignore" else ""))
    if len(result.mapping) > COLUMNS:
        columns.add_row(Text(f"and {number(len(result.mapping) - COLUMNS)} more", "dim"))
    header = result.header[:WIDE]
    rows = _table("line", "", *(Text(clip(name, 24)) for name in header), right=(0,))
    for row in result.rows:
        good = row.outcome == "accepted"
        verdict = Text("ok", "green") if good else Text(row.reason, "red")
        values = [
            Text(clip(row.values.get(name, ""), 32), "red" if not good and name == row.column else "")
            for name in header
        ]
        rows.add_row(number(row.line), verdict, *values)
    parts: list[RenderableType] = [
        Text.assemble((visible(result.source), "bold"), ": " + ", ".join(about)),
        Text(),
        columns,
        Text(),
        rows,
        *([Text(f"and {number(len(result.header) - WIDE)} more columns", "dim")] if len(result.header) > WIDE else []),
        *_warnings(result.warnings),
    ]
    return Group(*parts)


def undone(result: UndoReport) -> Text:
    kept = f", {number(result.kept)} kept because they changed since" if result.kept else ""
    return Text.assemble(
        (f"Import {result.import_id} taken back", "bold"),
        f": {number(result.deleted)} leads deleted, {number(result.restored)} restored{kept}",
    )
