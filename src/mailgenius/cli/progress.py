"""Progress of an import on standard error: bars on a terminal, a line every few seconds elsewhere (when asked for)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from mailgenius.cli.text import duration, number, percent, size

if TYPE_CHECKING:
    from rich.console import Console

    from mailgenius.importer.report import Progress

__all__ = ["ProgressBars", "ProgressLines", "Rates"]

LINE_SECONDS = 5.0


class Rates:
    """Rows a second over the phase so far, and how long the rest of it takes at that rate."""

    def __init__(self) -> None:
        self._phase = ""
        self._start = (0.0, 0)

    def add(self, now: Progress) -> tuple[float, float | None]:
        """(rows a second, seconds left or None where the end is not known)."""
        rows = now.rows_read if now.phase == "read" else now.rows_loaded
        if now.phase != self._phase:
            # the first event of a phase comes when it has already done something; the first phase starts at 0
            self._start = (now.seconds, rows) if self._phase else (0.0, 0)
            self._phase = now.phase
        seconds = now.seconds - self._start[0]
        rate = (rows - self._start[1]) / seconds if seconds > 0 else 0.0
        done = share(now)
        left = None if done is None or done <= 0 or seconds <= 0 else seconds * (1 - done) / done
        return rate, left


def share(now: Progress) -> float | None:
    """How much of the phase is done, 0 to 1; None for a stream of unknown length."""
    if now.phase == "read":
        return now.bytes_done / now.bytes_total if now.bytes_total else None
    return now.rows_loaded / now.rows_total if now.rows_total else 1.0


def line(now: Progress, rate: float, left: float | None) -> str:
    """One event as a line of text."""
    done = share(now)
    rows = now.rows_read if now.phase == "read" else now.rows_loaded
    parts = [
        f"{'reading' if now.phase == 'read' else 'loading'}"
        + (f" {percent(round(done * 1000), 1000)}" if done is not None else f" {size(now.bytes_done)}"),
        f"{number(rows)} rows",
        f"{number(rate)} rows/s",
    ]
    if now.rejected:
        parts.append(f"{number(now.rejected)} rejected")
    if left is not None and done is not None and done < 1:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


class ProgressLines:
    """For logs: at most a line every five seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates = Rates()
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, now: Progress) -> None:
        rate, left = self._rates.add(now)
        if now.seconds - self._last >= LINE_SECONDS or (share(now) or 0) >= 1:
            self._last = now.seconds
            self._console.print(Text(line(now, rate, left)))


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{number(task.fields['rows'])} rows  {number(task.fields['rate'])}/s", style="cyan")


class _RejectedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rejected = task.fields["rejected"]
        return Text(f"{number(rejected)} rejected" if rejected else "", style="red")


class ProgressBars:
    """For terminals: a bar for each phase, with rows, rate and the time that is left. Gone when the import is done."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            _RejectedColumn(),
            console=console,
            transient=True,
        )
        self._rates = Rates()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, now: Progress) -> None:
        rate, _ = self._rates.add(now)
        reading = now.phase == "read"
        if now.phase not in self._tasks:
            self._tasks[now.phase] = self._bars.add_task(
                "reading" if reading else "loading", total=None, rows=0, rate=0.0, rejected=0
            )
        self._bars.update(
            self._tasks[now.phase],
            completed=now.bytes_done if reading else now.rows_loaded,
            total=now.bytes_total if reading else now.rows_total,
            rows=now.rows_read if reading else now.rows_loaded,
            rate=rate,
            rejected=now.rejected if reading else 0,
        )
