"""The chapter of docs/benchmarks.md about job queues: one table with a line for each of them."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .peers.queues import OURS, OURS_THREADS, RIVALS, Way
from .results import Figure, Results

__all__ = ["chapter", "is_about", "versions"]

COLUMNS = {
    "add, one caller /s": "queue_add/one caller, {}",
    "100 callers /s": "queue_add/100 callers, {}",
    "in bulk /s": "queue_add/in bulk, {}",
    "done by 1 process /s": "queue_work/{}",
    "by 2 /s": "queue_two/{}",
    "1 ms away /s": "queue_far/{}",
    "server µs a job": "queue_work/{}: server",
    "idle p50 ms": "queue_idle/{}: p50",
    "p99 ms": "queue_idle/{}: p99",
    "requests/s": "queue_idle/{}: requests",
    "bytes a job": "queue_server/a waiting job, {}",
}
LOCK = Path(__file__).parent / "peers" / "node" / "package-lock.json"


def is_about(scenario: str) -> bool:
    return scenario.startswith("queue_")


def versions() -> str:
    """Of the rivals, as they are installed, and how each is set up."""
    locked = json.loads(LOCK.read_text("utf-8"))["packages"]

    def one(way: Way) -> str:
        if way.node:
            return f"{way.name} {locked[f'node_modules/{way.package}']['version']}: {way.setup}"
        try:
            return f"{way.name} {version(way.package)}: {way.setup}"
        except PackageNotFoundError:
            return f"{way.name}: not installed"

    return "; ".join(one(way) for way in RIVALS)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    value = figure.value
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def chapter(results: Results) -> list[str]:
    figures = results.figures
    mine = {name: figure for name, figure in figures.items() if is_about(name.partition("/")[0])}
    if not mine:
        return []
    out = ["### Job queues", "", f"| queue | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    told: set[str] = set()
    for way in (OURS, OURS_THREADS, *RIVALS):
        names = [form.format(way.name) for form in COLUMNS.values()]
        told.update(names)
        if any(name in figures for name in names):
            out.append(f"| {way.name} | {' | '.join(_cell(figures.get(name)) for name in names)} |")
    out += [
        "",
        "Medians. No-op jobs with a payload of 200 bytes, each contender in processes of its own, in turns, on one "
        "embedded Valkey that logs its writes (AOF, everysec); leases, retries, counters and events of ours are on. A run "
        "counts only if each job was handled. Bull, BullMQ and ours get at least 20,000 jobs in each, slower ones fewer. "
        f"Memory: by {next((f.note for n, f in mine.items() if 'waiting job' in n), 'libc')}.",
        "",
        *results.texts.get("queue_work", []),
        "",
        "| further figure | median | each run |",
        "|---|---:|---|",
    ]
    for name, figure in mine.items():
        if name not in told:
            each = ", ".join(_cell(Figure(run, "")) for run in figure.runs)
            out.append(
                f"| {name.removeprefix('queue_').replace('/', ': ', 1)} | {_cell(figure)} {figure.unit} | {each} |"
            )
    for scenario in dict.fromkeys(name.partition("/")[0] for name in mine):
        if skipped := results.skipped.get(scenario):
            out += ["", f"Not measured ({scenario}): {'; '.join(f'{way} ({why})' for way, why in skipped.items())}."]
    commands = dict.fromkeys(f"`{figure.command}` ({figure.when[:10]})" for figure in mine.values())
    out += ["", f"Again with {', '.join(commands)}.", ""]
    return out
