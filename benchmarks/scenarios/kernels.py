"""Each kernel alone: what the modules of ``benchmarks.kernels`` measure, by the names they give."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import kernels

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options


def measure(_room: Room | None, options: Options, results: Results) -> None:
    for path in sorted(Path(kernels.__path__[0]).glob("*.py")):
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
