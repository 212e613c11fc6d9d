"""One contender, one process: ``python -m benchmarks.run_one module path conninfo keywords`` prints an Outcome as JSON.

The clock starts when everything is imported and the connection libraries are warm; memory is counted above that point.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import time
from pathlib import Path

import msgspec
import psycopg


def _peak() -> int:
    """Peak resident bytes since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    module, path, conninfo, keywords = sys.argv[1:5]
    load = importlib.import_module(f"benchmarks.peers.{module}").load
    psycopg.connect(conninfo).close()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, cpu, began = _peak(), _cpu(), time.perf_counter()
    counts = load(path, conninfo, **json.loads(keywords))
    seconds = time.perf_counter() - began
    found = {"seconds": seconds, "cpu": _cpu() - cpu, "rss": _peak() - before}
    found |= {k: v for k, v in msgspec.to_builtins(counts).items() if v is not None}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
