"""What the benchmark commands share: options, one room for all scenarios, results kept after each, docs/benchmarks.md.

A command is a list of scenarios (modules of ``benchmarks.scenarios``) in the order in which they are measured.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from . import report
from .results import Results, machine

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .room import Room
    from .scenarios import Options


def parser(program: str, about: str, scenarios: Sequence[str]) -> argparse.ArgumentParser:
    """With the options that every command has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{program}", description=about.split("\n\n")[0])
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--only", default="", help=f"some of {','.join(scenarios)}")
    made.add_argument("--quick", action="store_true")
    made.add_argument("--no-peers", action="store_true", help="only mailgenius and PostgreSQL's own programs")
    made.add_argument("--patient", action="store_true", help="wait for a quiet machine before each run")
    return made


def chosen(parser: argparse.ArgumentParser, only: str, scenarios: Sequence[str]) -> list[str]:
    """Names given with ``--only``, in the order of ``scenarios``."""
    names = only.split(",") if only else scenarios
    if unknown := set(names) - set(scenarios):
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(scenarios)}")
    return [name for name in scenarios if name in names]


def run(scenarios: Sequence[str], options: Options, *, patient: bool, without_server: Collection[str] = ()) -> int:
    """Measures, keeps what was found and makes the page anew; a quick run keeps nothing."""
    if os.getloadavg()[0] > 0.5:
        print(f"note: this machine is busy (load {os.getloadavg()[0]:.1f}); ratios will wander", file=sys.stderr)
    results = Results() if options.quick else Results.read()
    began = time.perf_counter()
    with ExitStack() as stack:
        room: Room | None = None
        if set(scenarios) - set(without_server):
            from .room import Room

            room = stack.enter_context(Room(patient=patient))
        results.machine = machine(room.version) if room else results.machine or machine()
        for name in scenarios:
            importlib.import_module(f"benchmarks.scenarios.{name}").measure(room, options, results)
            if not options.quick:
                results.write()
    print(f"\n{time.perf_counter() - began:.0f} s in all\n\n{report.summary(results)}")
    if not options.quick:
        print(f"\nwrote {report.write(results).relative_to(report.ROOT)}")
    return 0
