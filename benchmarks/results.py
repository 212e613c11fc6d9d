"""What was measured: ``benchmarks/results.json``, one entry a figure, kept until that figure is measured again: on whatever
machine one chapter is measured anew, the others stay."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .room import Outcome

PATH = Path(__file__).with_suffix(".json")


class Figure(msgspec.Struct):
    value: float  # the median of runs
    unit: str
    runs: list[float] = []
    note: str = ""
    load: float = 0.0  # of the machine when it was measured (highest of the runs' beginnings)
    others: float = 0.0  # largest share of the machine that others took during a run
    command: str = ""
    when: str = ""


class Results(msgspec.Struct):
    machine: dict[str, str] = {}
    figures: dict[str, Figure] = {}
    skipped: dict[str, dict[str, str]] = {}  # scenario: what could not be measured, and why
    texts: dict[str, list[str]] = {}  # scenario: what else is to be said, lines of Markdown

    @classmethod
    def read(cls, path: Path = PATH) -> Results:
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()

    def write(self, path: Path = PATH) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    def put(
        self,
        name: str,
        runs: Sequence[float],
        unit: str,
        *,
        note: str = "",
        load: float | None = None,
        others: float = 0.0,
        command: str = "",
    ) -> float:
        value = statistics.median(runs)
        self.figures[name] = Figure(
            value=value,
            unit=unit,
            runs=[round(r, 6) for r in runs],
            note=note,
            load=round(os.getloadavg()[0] if load is None else load, 2),
            others=round(others, 3),
            command=command,
            when=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        )
        return value

    def put_race(
        self, scenario: str, name: str, outcomes: Sequence[Outcome], *, note: str = "", command: str = ""
    ) -> None:
        load, others = max(o.load for o in outcomes), max(o.others for o in outcomes)
        runs = [o.seconds for o in outcomes]
        self.put(f"{scenario}/{name}", runs, "s", note=note, load=load, others=others, command=command)
        server = [o.server_cpu for o in outcomes]
        self.put(f"{scenario}/{name}: server CPU", server, "s", load=load, command=command)
        if any(o.cpu for o in outcomes):
            self.put(f"{scenario}/{name}: client CPU", [o.cpu for o in outcomes], "s", load=load, command=command)
            self.put(f"{scenario}/{name}: memory", [o.rss / 2**20 for o in outcomes], "MiB", load=load, command=command)
        for phase in outcomes[0].phases:
            runs = [o.phases.get(phase, 0.0) for o in outcomes]
            self.put(f"{scenario}/{name}: phase {phase}", runs, "s", load=load, command=command)

    def put_calls(self, name: str, outcomes: Sequence[Outcome], *, note: str = "", command: str = "") -> None:
        load, others = max(o.load for o in outcomes), max(o.others for o in outcomes)
        rates = [o.calls / o.seconds for o in outcomes]
        self.put(name, rates, "/s", note=note, load=load, others=others, command=command)
        self.put(f"{name}: p50", [o.p50 * 1000 for o in outcomes], "ms", load=load, others=others, command=command)
        self.put(f"{name}: p99", [o.p99 * 1000 for o in outcomes], "ms", load=load, others=others, command=command)

    def forget(self, scenario: str) -> None:
        """For a scenario whose figures only mean something beside those of the same run."""
        self.figures = {name: f for name, f in self.figures.items() if not name.startswith(f"{scenario}/")}
        self.skipped.pop(scenario, None)


def calls(scenario: str, question: str, callers: int, way: str) -> str:
    """The name of a figure: answers a second to so many callers at once."""
    return f"{scenario}/{question}, {callers} {'caller' if callers == 1 else 'callers'}, {way}"


def machine(postgres: str = "") -> dict[str, str]:
    from mailgenius._native import isas

    cpu = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Processor": f"{cpu.get('model name', platform.machine())} (family {cpu.get('cpu family', '?')}, "
        f"model {cpu.get('model', '?')}), {os.cpu_count()} cores",
        "Instruction sets": ", ".join(isas()),
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": f"{postgres}, embedded, fsync on" if postgres else "not used",
    }
