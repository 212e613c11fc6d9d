"""Queues and jobs as tables: values in, something printable out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailgenius.cli.queue_parser import STATES
from mailgenius.cli.text import clip, duration, number, visible

if TYPE_CHECKING:
    from mailgenius.queue.views import Counts, JobInfo

__all__ = ["card", "counts", "jobs", "queues"]


def queues(every: Mapping[str, Counts], rates: Mapping[str, tuple[float, float]] | None = None) -> Table:
    """A line for each. ``rates``: jobs that were added and done, a second."""
    made = _table("queue", *STATES, *(("added/s", "done/s") if rates is not None else ()), "")
    for name, one in every.items():
        cells = [Text(number(getattr(one, state)), _style(state, getattr(one, state))) for state in STATES]
        if rates is not None:
            cells += [Text(number(rate)) for rate in rates.get(name, (0.0, 0.0))]
        made.add_row(Text(visible(name)), *cells, Text(_paused(one), "yellow"))
    return made


def counts(name: str, one: Counts) -> Group:
    """Of one queue: by state, and by name since it is there."""
    parts: list[RenderableType] = [queues({name: one})]
    if one.names:
        made = _table("name", "added", "done", "failed", "removed", "open")
        for title, sums in (*one.names.items(), ("total", one.total)):
            values = (sums.added, sums.done, sums.failed, sums.removed, sums.open)
            made.add_row(Text(visible(title)), *(number(value) for value in values))
        parts += [Text(), made]
    return Group(*parts, Text(), Text(f"{number(one.retried)} retried, {number(one.stalled)} stalled", "dim"))


def jobs(every: Sequence[JobInfo], state: str) -> Table:
    """A line for each."""
    last = {"failed": "error", "done": "worker", "active": "worker", "delayed": "due"}.get(state, "group")
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("id", "name", "attempts", "added", "payload", last):
        made.add_column(title, justify="right" if title == "attempts" else "left", overflow="fold")
    for job in every:
        value = job.due_at if last == "due" else getattr(job, last)
        cells = (job.id, clip(job.name, 40), number(job.attempts), plain(job.added_at), clip(plain(job.payload), 60))
        made.add_row(*map(Text, (*cells, clip(plain(value), 80))))
    return made


def card(job: JobInfo) -> Group:
    """All that is known of it, a line a field."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name in job.__struct_fields__:
        value = getattr(job, name)
        if name not in ("error", "traceback", "log") and (value not in (None, "", 0) or name == "attempts"):
            made.add_row(name, Text(visible(duration(value) if name == "took" else plain(value))))
    return Group(made, *_lines("error", (job.traceback or job.error).splitlines()), *_lines("log", job.log))


def _lines(title: str, lines: Iterable[str]) -> list[RenderableType]:
    shown = [Text(visible(line)) for line in lines]
    return [Text(), Text(title, "bold"), *shown] if shown else []


def plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    return msgspec.json.encode(value, enc_hook=repr).decode()


def _table(*titles: str) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        made.add_column(title, justify="right" if place and title else "left", overflow="fold")
    return made


def _style(state: str, count: int) -> str:
    return "" if count and state != "failed" else "red" if count else "dim"


def _paused(one: Counts) -> str:
    if one.paused:
        return "paused"
    return "paused: " + clip(", ".join(one.paused_groups), 40) if one.paused_groups else ""
