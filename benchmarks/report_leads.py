"""The chapters of docs/benchmarks.md about questions: one caller, and many users at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .results import Figure, Results

QUERIES = {"queries": "one caller, 2M leads and 10M sends", "queries 10m": "one caller, 10M leads and 50M sends"}
USERS = {"users": "100 users, 2M leads and 10M sends", "users 10m": "100 users, 10M leads and 50M sends"}


def chapters(results: Results, bars: dict[str, float]) -> list[str]:
    """``bars``: by the name of the figure that a target is about."""
    out = []
    for scenario, title in QUERIES.items():
        out += _chapter(scenario, f"Questions: {title}", results, _queries(scenario, results.figures, bars))
    for scenario, title in USERS.items():
        out += _chapter(scenario, f"Questions: {title}", results, _users(scenario, results.figures))
    return out


def is_about(scenario: str) -> bool:
    return scenario in QUERIES or scenario in USERS


def _chapter(scenario: str, title: str, results: Results, table: list[str]) -> list[str]:
    mine = _asked(scenario, results.figures)
    if not mine:
        return []
    first = next(iter(mine.values()))
    out = [f"### {title}", ""]
    if text := results.texts.get(scenario):
        out += [*text, ""]
    out += [*table, ""]
    if skipped := results.skipped.get(scenario):
        out += [f"Not measured: {'; '.join(f'{what} ({why})' for what, why in skipped.items())}.", ""]
    others = max(figure.others for figure in mine.values())
    took = f"others took up to {others:.0%} of the machine"
    return [*out, f"Again with `{first.command}` ({first.when} UTC; {took}).", ""]


def _asked(scenario: str, figures: dict[str, Figure]) -> dict[str, Figure]:
    """The figures that have a p50: one for each kind of question."""
    mine = {n: f for n, f in figures.items() if n.startswith(f"{scenario}/")}
    return {n: f for n, f in mine.items() if f"{n}; p50" in mine}


def _queries(scenario: str, figures: dict[str, Figure], bars: dict[str, float]) -> list[str]:
    lines = [
        "| question | p50 ms | p99 ms | slowest ms | answers | bar for p99 | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, figure in _asked(scenario, figures).items():
        # Whatever has no bar of its own must not be slower than anything may be.
        group = f"{scenario}/worst; {figure.note}"
        bar = bars.get(group, bars.get(f"{scenario}/worst; anything"))
        says = "–" if bar is None else f"≤ {bar:,.0f}"
        word = "" if bar is None else "met" if figure.value <= bar else "**not met**"
        p50, slowest, calls = (figures[f"{name}; {what}"].value for what in ("p50", "max", "calls"))
        what = name.partition("/")[2]
        lines.append(f"| {what} | {p50:.2f} | {figure.value:.2f} | {slowest:.2f} | {calls:,.0f} | {says} | {word} |")
    if checked := figures.get(f"{scenario}/checked; counts"):
        lines += ["", f"{checked.value:,.0f} different counts were compared with a plain SQL query each: all agree."]
    return lines


def _users(scenario: str, figures: dict[str, Figure]) -> list[str]:
    lines = ["| questions | p50 ms | p95 ms | p99 ms | slowest ms | answers |", "|---|---:|---:|---:|---:|---:|"]
    for name, figure in _asked(scenario, figures).items():
        p50, p95, slowest, calls = (figures[f"{name}; {what}"].value for what in ("p50", "p95", "max", "calls"))
        what = name.partition("/")[2]
        lines.append(f"| {what} | {p50:.2f} | {p95:.2f} | {figure.value:.2f} | {slowest:.2f} | {calls:,.0f} |")
    if best := figures.get(f"{scenario}/highest rate"):
        lines += ["", f"The highest rate that holds p95 < 200 ms: {best.value:,.0f} questions a second ({best.note})."]
    return lines
