"""What a server needs before it can start: a cluster, and a folder for its socket."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from mailgenius.errors import ServerError

from ._explain import explain
from ._system import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from ._folder import Folder, State

USER = DATABASE = "mailgenius"
SOCKET_PORT = 5432  # part of the socket's name; each server has a folder of its own for it
NEEDED_BYTES = 96 << 20  # a new cluster takes about 40 MiB, its first log segments 32


def where(folder: Folder) -> dict[str, Any]:
    """What ``explain`` wants to know."""
    return {"folder": str(folder.path), "free": free_bytes(folder.path), "log": str(folder.log)}


def make_cluster(folder: Folder, install: Path, run_as: tuple[int, int] | None, password: str) -> None:
    """Makes pgdata: in a folder beside it, renamed into place when it is complete."""
    free = free_bytes(folder.path)
    if free < NEEDED_BYTES:
        raise ServerError(
            f"The disk is full: a new database needs {NEEDED_BYTES >> 20} MiB, {folder.path} has {free >> 20} MiB free."
        )
    part = folder.path / f"pgdata.new-{secrets.token_hex(4)}"
    who: dict[str, Any] = {}
    try:
        part.mkdir(mode=0o700)
    except OSError as error:
        raise ServerError(f"A new database cannot be made in {folder.path}: {error.strerror}.") from error
    if run_as is not None:
        os.chown(part, *run_as)
        who = {"user": run_as[0], "group": run_as[1], "extra_groups": []}
    data_fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    secret_fd = os.memfd_create("password")  # the server's user may not read our files
    try:
        os.write(secret_fd, password.encode() + b"\n")
        done = subprocess.run(
            [
                install / "bin" / "initdb",
                "--pgdata",
                f"/proc/self/fd/{data_fd}",
                "--username",
                USER,
                "--pwfile",
                f"/proc/self/fd/{secret_fd}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                # Sorts by bytes like C, but knows upper and lower case beyond ASCII.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--set=scram_iterations=1",  # 256 random bits need no slow hash; connecting stays fast
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            pass_fds=(data_fd, secret_fd),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd="/",
            umask=0o077,
            **who,
        )
        if done.returncode != 0:
            raise ServerError(explain(done.stdout + done.stderr, **where(folder))[1])
        part.rename(folder.pgdata)
    except OSError as error:
        raise ServerError(f"A new database cannot be made in {folder.path}: {error.strerror}.") from error
    finally:
        os.close(data_fd)
        os.close(secret_fd)
        shutil.rmtree(part, ignore_errors=True)


def socket_folder(before: list[State], run_as: tuple[int, int] | None) -> str:
    """A short private folder: a socket's path has at most 107 bytes. An old server's is used again while it is
    safe."""
    uid, gid = run_as or (os.geteuid(), os.getegid())
    for known in before:
        if known.socket_dir:
            with contextlib.suppress(OSError):
                seen = os.lstat(known.socket_dir)
                if seen.st_uid == uid and (seen.st_mode & 0o170777) == 0o040700:
                    # Remains of a killed server; its pid in the lock file may be someone else's by now.
                    for name in (
                        f".s.PGSQL.{known.port or SOCKET_PORT}",
                        f".s.PGSQL.{known.port or SOCKET_PORT}.lock",
                    ):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(os.path.join(known.socket_dir, name))  # noqa: PTH108, PTH118
                    return known.socket_dir
            with contextlib.suppress(OSError):
                os.mkdir(known.socket_dir, 0o700)  # noqa: PTH102  (fails if anything is there)
                os.chown(known.socket_dir, uid, gid)
                return known.socket_dir
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > 60 or any(character in base for character in "\"',\\ "):
        base = "/tmp"  # noqa: S108
    try:
        made = tempfile.mkdtemp(prefix="mailgenius-", dir=base)
        os.chown(made, uid, gid)
    except OSError as error:
        raise ServerError(f"No folder for the server's socket can be made in {base}: {error.strerror}.") from error
    return made
