"""docs/benchmarks.md from targets.toml and what was measured. ``python -m benchmarks.report`` writes it again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from . import readme, report_leads, report_queue
from .results import Figure, Results

ROOT = Path(__file__).resolve().parent.parent
TARGETS = Path(__file__).with_name("targets.toml")
PAGE = ROOT / "docs" / "benchmarks.md"

KINDS = {
    "documented": ("What the library promises", "`make bench` asserts these."),
    "import": ("Imports", "Same server, same table, same durable settings, runs taken in turns."),
    "core": ("Core", "Bytes in memory to checked, encoded rows; no database."),
    "pool": (
        "Pool",
        "Ten connections for everybody, same server, same table, every statement its own transaction, runs taken in "
        "turns, a fresh process each. The best is the fastest of the rivals that could be measured; pgbench is no pool "
        "and stands outside.",
    ),
    "leads": (
        "Leads",
        "Embedded PostgreSQL, warm. The slowest kind of question of each group, by its p99; the table of all of them is "
        "further down. 2M leads in 20 workspaces, the largest 1.2M, and 10M sends in 50 campaigns; 10M leads and 50M "
        "sends where it says so.",
    ),
    "instrumentation": (
        "Instrumentation",
        "The same pool with `pool.statistics` on and off in turns, one caller, medians of many pairs of blocks.",
    ),
    "cache": (
        "Cache",
        "One Valkey of the wheel, reached by TCP, values of 1 KB, runs taken in turns in one process. Rivals get and set "
        "as they are meant to be used; cashews pickles, aiocache is given the same MessagePack form as ours. Ours checks a "
        "checksum, the key and the type of each value as well.",
    ),
    "django": (
        "Django's cache",
        "Backends of Django's `CACHES` in one process, one thread, one Valkey of the wheel, texts of 1 KB, runs taken in "
        "turns. The others pickle; ours stores a form of its own, and checks a checksum and the key.",
    ),
    "queue": (
        "The queue",
        "Against Bull and BullMQ on Node, Celery, RQ, arq, SAQ, dramatiq, taskiq, streaq and huey, on one embedded Valkey; "
        "how, and what each of them does, is told further down (job queues).",
    ),
    "asgi": (
        "ASGI app",
        "The example app (Starlette, uvicorn) with 100,000 leads, 100 keep-alive users, requests at random times whether "
        "or not earlier ones were answered, latency from the time they were due; all of it on two cores.",
    ),
    "kernels": ("Kernels", "Each kernel alone, best of several repeats, one thread."),
}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    kind: str
    what: str
    ours: str
    unit: str
    rival: str | tuple[str, ...] = ""
    plus: str = ""
    isa: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def rivals(self) -> tuple[str, ...]:
        return (self.rival,) if isinstance(self.rival, str) and self.rival else tuple(self.rival)


class Verdict(msgspec.Struct, frozen=True):
    target: Target
    ours: Figure | None
    rival: Figure | None
    value: float | None  # what stands against the bar: the ratio, or the figure itself
    bar: float | None
    met: bool | None  # None: not measured

    @property
    def word(self) -> str:
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


def targets() -> list[Target]:
    return msgspec.convert(tomllib.loads(TARGETS.read_text(encoding="utf-8"))["target"], list[Target])


def best(target: Target, figures: dict[str, Figure]) -> Figure | None:
    """The rival to beat: of several, the fastest of those that were measured."""
    found = [figures[name] for name in target.rivals if name in figures]
    choose = max if target.at_least is not None else min
    return choose(found, key=lambda figure: figure.value, default=None)


def judge(target: Target, figures: dict[str, Figure]) -> Verdict:
    ours, rival = figures.get(target.ours), best(target, figures)
    limit = target.at_most if target.at_most is not None else target.at_least
    assert limit is not None, target.id
    if ours is None or (target.rivals and rival is None) or (target.plus and target.plus not in figures):
        return Verdict(target, ours, rival, None, limit, None)
    value = ours.value
    if rival is not None and target.unit == "x":
        value /= rival.value
    elif rival is not None:
        limit = limit * rival.value + (figures[target.plus].value if target.plus else 0.0)
    return Verdict(target, ours, rival, value, limit, value <= limit if target.at_most is not None else value >= limit)


def number(value: float, unit: str = "") -> str:
    if value >= 1000:
        text = f"{value / 1e6:,.1f} M" if value >= 1e6 else f"{value:,.0f} "
    elif value >= 100:
        text = f"{value:,.0f} "
    elif value >= 1:
        text = f"{value:,.2f} "
    else:
        text = f"{value:.3g} "
    return (text + unit).strip()


def _targets_table(verdicts: list[Verdict]) -> list[str]:
    lines = ["| what | ours | rival | ratio | bar | |", "|---|---:|---:|---:|---:|---|"]
    for v in verdicts:
        t = v.target
        sign = "≤" if t.at_most is not None else "≥"
        bar = f"{sign} {number(v.bar or 0.0, '' if t.unit == 'x' else t.unit)}{' ×' if t.unit == 'x' else ''}"
        ours = number(v.ours.value, v.ours.unit) if v.ours else "–"
        rival = number(v.rival.value, v.rival.unit) if v.rival else "–"
        ratio = f"{v.ours.value / v.rival.value:.2f}" if v.ours and v.rival else "–"
        lines.append(f"| {t.what} | {ours} | {rival} | {ratio} | {bar} | {v.word} |")
    return lines


def _race_table(scenario: str, figures: dict[str, Figure]) -> list[str]:
    prefix = scenario + "/"
    names = ("mailgenius", "mailgenius skip", "primary key and unique address only")
    base = next((figures[prefix + name] for name in names if prefix + name in figures), None)
    base_name = "bare" if scenario == "cost" else "mailgenius"
    lines = [
        f"| way | median s | each run | × {base_name} | server CPU s | client CPU s | memory MiB | |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for name, figure in figures.items():
        if not name.startswith(prefix) or ":" in name:
            continue
        way = name.removeprefix(prefix)
        rest = []
        for what, form in (("server CPU", ".2f"), ("client CPU", ".2f"), ("memory", ".0f")):
            found = figures.get(f"{name}: {what}")
            rest.append(format(found.value, form) if found else "–")
        times = ", ".join(f"{r:.2f}" for r in figure.runs)
        against = f"{figure.value / base.value:.2f}" if base else "–"
        lines.append(f"| {way} | {figure.value:.2f} | {times} | {against} | {' | '.join(rest)} | {figure.note} |")
    return lines


def _calls_table(case: str, figures: dict[str, Figure]) -> list[str]:
    """One question and number of callers, the fastest way first."""
    found = {n: f for n, f in figures.items() if n.startswith(case + ", ") and ":" not in n}
    lines = ["| way | median /s | each run | p50 ms | p99 ms | |", "|---|---:|---|---:|---:|---|"]
    for name, figure in sorted(found.items(), key=lambda item: -item[1].value):
        each = ", ".join(f"{run:,.0f}" for run in figure.runs)
        p50, p99 = (f"{figures[f'{name}: {p}'].value:.3f}" for p in ("p50", "p99"))
        lines.append(
            f"| {name.removeprefix(case + ', ')} | {figure.value:,.0f} | {each} | {p50} | {p99} | {figure.note} |"
        )
    return lines


def _calls(scenario: str, results: Results) -> list[str]:
    """A table for each case of a scenario that counts answers, and what could not be measured."""
    mine = {n: f for n, f in results.figures.items() if n.startswith(scenario + "/") and ":" not in n}
    out = []
    for case in dict.fromkeys(name.rpartition(", ")[0] for name in mine):
        out += [f"### {scenario.capitalize()}: {case.partition('/')[2]}", "", *_calls_table(case, results.figures), ""]
    if skipped := results.skipped.get(scenario):
        out += [f"Not measured: {'; '.join(f'{way} ({why})' for way, why in skipped.items())}.", ""]
    if mine:
        first, others = next(iter(mine.values())), max(f.others for f in mine.values())
        out += [f"Again with `{first.command}` ({first.when} UTC; others took up to {others:.0%} of the machine).", ""]
    return out


def _figures_table(names: list[str], figures: dict[str, Figure]) -> list[str]:
    lines = ["| figure | median | each run |", "|---|---:|---|"]
    for name in names:
        f = figures[name]
        lines.append(
            f"| {name.partition('/')[2]} | {number(f.value, f.unit)} | {', '.join(number(r) for r in f.runs)} |"
        )
    return lines


RACES = {
    "full": "2,000,000 rows into an empty workspace",
    "small": "100,000 rows into an empty workspace",
    "onto": "100,000 rows onto 2,000,000 leads, of which 10 % are there",
    "cost": "2,000,000 rows with and without indexes and counters",
}

CALLS = ["pool"]  # scenarios that count answers, see results.calls


def page(results: Results) -> str:
    figures = results.figures
    verdicts = [judge(t, figures) for t in targets()]
    known = [v for v in verdicts if v.met is not None]
    out = [
        "# Benchmarks",
        "",
        "<!-- Made by `make bench-import`, `bench-leads`, `bench-cache` and `bench-queue` from benchmarks/targets.toml and "
        "results. -->",
        "",
        f"{sum(bool(v.met) for v in known)} of {len(verdicts)} bars are met, {sum(not v.met for v in known)} are not, "
        f"{len(verdicts) - len(known)} were not measured. Ratios count: the machine is small, virtual and "
        "shared, and absolute times wander by some 20 %.",
        "",
        "| machine | |",
        "|---|---|",
        *[f"| {k} | {v} |" for k, v in results.machine.items()],
        "",
    ]
    for kind, (title, text) in KINDS.items():
        some = [v for v in verdicts if v.target.kind == kind]
        if some:
            out += [f"## {title}", "", text, "", *_targets_table(some), ""]
    out += [
        "## Every figure",
        "",
        "Medians. Data: `python -m benchmarks.data` (seeded): about 3 % rows that cannot be imported, 2 % duplicates, "
        "quoted fields, embedded line ends, UTF-8 names, 0.5 % internationalised domains. `psql` gets the file after a "
        "perfect clean-up, mailgenius and the peers the raw one. Every run starts from a fresh copy of the same "
        "database, behind a checkpoint. Client CPU and memory (peak above the imported process) are of Python "
        "processes only.",
        "",
    ]
    for scenario, title in RACES.items():
        mine = [f for n, f in figures.items() if n.startswith(scenario + "/")]
        if mine:
            others = max(f.others for f in mine)
            out += [f"### {title}", "", *_race_table(scenario, figures), ""]
            phases = {n: f for n, f in figures.items() if n.startswith(scenario + "/") and ": phase " in n}
            if phases:
                said = "; ".join(
                    f"{n.partition('/')[2].replace(': phase ', ', ')} {f.value:.2f} s" for n, f in phases.items()
                )
                out += [f"Phases: {said}.", ""]
            out += [
                f"Again with `{mine[0].command}` ({mine[0].when} UTC; others took up to {others:.0%} of the machine).",
                "",
            ]
    for scenario in CALLS:
        out += _calls(scenario, results)
    out += report_leads.chapters(results, {t.ours: t.at_most for t in targets() if t.at_most is not None})
    out += report_queue.chapter(results)
    rest: dict[str, list[str]] = {}
    for name in figures:
        scenario = name.partition("/")[0]
        told = scenario in RACES or scenario in CALLS or report_queue.is_about(scenario)
        if not told and not report_leads.is_about(scenario):
            rest.setdefault(scenario, []).append(name)
    for scenario, names in rest.items():
        first = figures[names[0]]
        out += [f"### {scenario.capitalize()}", "", *_figures_table(names, figures), ""]
        out += [f"Again with `{first.command}` ({first.when} UTC, load {first.load:.1f}).", ""]
    return "\n".join(out).rstrip() + "\n"


def summary(results: Results) -> str:
    lines = []
    for v in (judge(t, results.figures) for t in targets()):
        if v.value is None:
            continue
        sign = "<=" if v.target.at_most is not None else ">="
        unit = v.target.unit
        word = "met" if v.met else "NOT MET"
        lines.append(f"{word:<8}{v.value:12.3f} {sign} {v.bar:<10.3f}{unit:<7}{v.target.what}")
    return "\n".join(lines)


def write(results: Results) -> Path:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results), encoding="utf-8")
    readme.write(ROOT / "README.md", PAGE)
    return PAGE


def main() -> None:
    results: Any = Results.read()
    print(summary(results))
    print(f"wrote {write(results).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
