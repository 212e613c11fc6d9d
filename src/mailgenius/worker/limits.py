"""What this process may use, cores and memory, and what others use: /proc and the control group, version 1 or 2.

A group's limit is the lowest of its own and those of the groups above it that can be seen from here.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

__all__ = ["memory_limit", "memory_of", "usable_cores"]

_ROOT = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_UNLIMITED = 1 << 60  # version 1 says a number near 2**63 where there is none


def usable_cores(root: Path = _ROOT, proc: Path = _PROC) -> int:
    """Cores that we may run on, or what the CPU quota of our control group comes to, where it is less; at least 1."""
    cores = len(os.sched_getaffinity(0))
    for folder in _groups("cpu", root, proc):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            cores = min(cores, ceil(quota / period))
    return max(1, cores)


def memory_limit(root: Path = _ROOT, proc: Path = _PROC) -> int | None:
    """Bytes that our control group may use; None: as many as there are."""
    found = [
        number
        for folder in _groups("memory", root, proc)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (number := _number(folder / name)) is not None and number < _UNLIMITED
    ]
    return min(found, default=None)


def memory_of(pid: int, above: int = 0, proc: Path = _PROC) -> int:
    """Bytes of a process and its descendants; 0: it is gone. What several share is counted in part (PSS), but that is only
    looked at if the sum of what is resident, which is cheap to have, is more than ``above``."""
    pids = _tree(pid, proc)
    resident = sum(_resident(one, proc) for one in pids)
    return resident if resident <= above else sum(_proportional(one, proc) for one in pids)


def _tree(pid: int, proc: Path) -> list[int]:
    found = [pid]
    for one in found:
        try:
            tasks = list((proc / str(one) / "task").iterdir())
        except OSError:
            continue
        for task in tasks:
            found += map(int, _text(task / "children").split())
    return found


def _resident(pid: int, proc: Path) -> int:
    words = _text(proc / str(pid) / "statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0


def _proportional(pid: int, proc: Path) -> int:
    for line in _text(proc / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid, proc)


def _groups(controller: str, root: Path, proc: Path) -> list[Path]:
    """Folders of our control group and of those above it, that there are."""
    found = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "":
            top = root
        elif controller in names.split(","):
            top = root / controller if (root / controller).exists() else root / names
        else:
            continue
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            found.append(folder)
            folder = folder.parent
        found.append(top)
    return [folder for folder in found if folder.is_dir()]


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of CPU in so many microseconds; 0 or less: any."""
    words = _text(folder / "cpu.max").split()
    if len(words) == 2:
        return (0, 0) if words[0] == "max" else (int(words[0]), int(words[1]))
    return _number(folder / "cpu.cfs_quota_us") or 0, _number(folder / "cpu.cfs_period_us") or 0


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:  # absent, or "max"
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
