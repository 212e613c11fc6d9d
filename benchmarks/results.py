"""What was measured: ``.data/results.json``, one entry a figure, kept until that figure is measured again."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .room import Outcome

PATH = data.HOME / "results.json"


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

    @classmethod
    def read(cls, path: Path = PATH) -> Results:
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()

    def write(self, path: Path = PATH) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    def put(
        self,
        name: str,
        runs: Sequence[float],
        unit: str,
        *,
        note: str = "",
        load: float | None = None,
        command: str = "",
    ) -> float:
        value = statistics.median(runs)
        self.figures[name] = Figure(
            value=value,
            unit=unit,
            runs=[round(r, 6) for r in runs],
            note=note,
            load=round(os.getloadavg()[0] if load is None else load, 2),
            command=command,
            when=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        )
        return value

    def put_race(
        self, scenario: str, name: str, outcomes: Sequence[Outcome], *, note: str = "", command: str = ""
    ) -> None:
        load = max(o.load for o in outcomes)
        self.put(f"{scenario}/{name}", [o.seconds for o in outcomes], "s", note=note, load=load, command=command)
        self.figures[f"{scenario}/{name}"].others = round(max(o.others for o in outcomes), 3)
        server = [o.server_cpu for o in outcomes]
        self.put(f"{scenario}/{name}: server CPU", server, "s", load=load, command=command)
        if any(o.cpu for o in outcomes):
            self.put(f"{scenario}/{name}: client CPU", [o.cpu for o in outcomes], "s", load=load, command=command)
            self.put(f"{scenario}/{name}: memory", [o.rss / 2**20 for o in outcomes], "MiB", load=load, command=command)
        for phase in outcomes[0].phases:
            runs = [o.phases.get(phase, 0.0) for o in outcomes]
            self.put(f"{scenario}/{name}: phase {phase}", runs, "s", load=load, command=command)


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
