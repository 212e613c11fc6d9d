"""``make bench-import``: every import figure beside its rivals, in one run on one server; writes docs/benchmarks.md.

    python -m benchmarks.bench_import [--rows N] [--runs N] [--only full,small,onto,query,core,kernels,memory]
                                      [--quick] [--scale] [--no-peers] [--patient]

``--quick`` takes 200,000 rows and one run and leaves docs/benchmarks.md alone. ``--scale`` adds ten million rows.
``--patient`` waits for a quiet machine before each run, and repeats runs that others disturbed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from . import report
from .results import Results, machine
from .scenarios import Options

if TYPE_CHECKING:
    from .room import Room

SCENARIOS = ["core", "kernels", "small", "query", "onto", "full", "memory"]
WITHOUT_SERVER = {"core", "kernels"}


def kernels(options: Options, results: Results) -> None:
    for path in sorted((Path(__file__).parent / "kernels").glob("*.py")):
        if path.stem.startswith("_"):
            continue
        options.say(f"kernels: {path.stem}")
        for name, value in importlib.import_module(f"benchmarks.kernels.{path.stem}").measure().items():
            results.put(
                f"kernels/{path.stem}: {name}", [value], unit(path.stem, name), command=options.command("kernels")
            )
            options.say(f"  {name:<60}{value:16,.2f}")


def unit(module: str, name: str) -> str:
    """Of a kernel's figure, which is named by its author."""
    if "GB/s" in name or module == "csv_scan":
        return "GB/s"
    if module == "address":
        return "" if "share" in name else "/s"
    if "ns a" in name:
        return "ns"
    if "/s" in name:
        return "/s"
    return "B" if name.startswith("bytes") else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_import", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help=f"some of {','.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--no-peers", action="store_true", help="only mailgenius and psql")
    parser.add_argument("--patient", action="store_true", help="wait for a quiet machine before each run")
    args = parser.parse_args()
    chosen = args.only.split(",") if args.only else SCENARIOS
    if unknown := set(chosen) - set(SCENARIOS):
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    options = Options(
        rows=200_000 if args.quick else args.rows,
        runs=1 if args.quick else args.runs,
        quick=args.quick,
        scale=args.scale,
        peers=not args.no_peers,
        say=lambda text: print(text, flush=True),
    )
    if os.getloadavg()[0] > 0.5:
        print(f"note: this machine is busy (load {os.getloadavg()[0]:.1f}); ratios will wander", file=sys.stderr)
    results = Results() if args.quick else Results.read()
    began = time.perf_counter()
    with ExitStack() as stack:
        room: Room | None = None
        if set(chosen) - WITHOUT_SERVER:
            from .room import Room

            room = stack.enter_context(Room(patient=args.patient))
        results.machine = machine(room.version) if room else results.machine or machine()
        for name in SCENARIOS:
            if name not in chosen:
                continue
            if name == "kernels":
                kernels(options, results)
            else:
                importlib.import_module(f"benchmarks.scenarios.{name}").measure(room, options, results)
            if not args.quick:
                results.write()
    print(f"\n{time.perf_counter() - began:.0f} s in all\n\n{report.summary(results)}")
    if not args.quick:
        print(f"\nwrote {report.write(results).relative_to(report.ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
