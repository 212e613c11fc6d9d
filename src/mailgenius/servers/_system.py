"""What the operating system says: processes, users, memory, locks. Linux only (it reads /proc)."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


def start_ticks(pid: int) -> int | None:
    """When process ``pid`` started, in clock ticks since boot; None if there is none or it is a zombie.

    Pid and start together name a process for good: pids are used again, quickly so in containers.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def stopped(pid: int) -> bool:
    """Whether a signal holds process ``pid``, all its threads included."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return all((task / "stat").read_bytes().rpartition(b") ")[2][:1] == b"T" for task in tasks)
    except (FileNotFoundError, ProcessLookupError):
        return False


def works_in(pid: int, folder: Path) -> bool:
    """Whether process ``pid`` has ``folder`` as its current one, as a PostgreSQL server has its data folder."""
    try:
        return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), folder.stat())
    except OSError:
        return False


def user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def memory_bytes() -> int:
    """Memory of this machine, or the limit of our control group where it is lower."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(file).read_text()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return total


def shm_bytes() -> int:
    try:
        stat = os.statvfs("/dev/shm")  # noqa: S108
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize


def free_bytes(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def try_lock(fd: int, kind: int) -> bool:
    """Takes a flock of ``kind`` if nobody is in the way. The kernel gives it up when the holder dies, however it
    dies."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Asks ``condition`` until it holds, at growing intervals of 1 to 50 ms; False after ``seconds``."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return True
