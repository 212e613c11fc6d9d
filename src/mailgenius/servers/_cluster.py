"""Makes what a PostgreSQL needs before it can start: a cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from mailgenius.errors import ServerError

from ._explain import explain
from ._system import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from ._postgres_folder import PostgresFolder

USER = DATABASE = "mailgenius"
NEEDED_BYTES = 96 << 20  # a new cluster takes about 40 MiB, its first log segments 32


def make_cluster(folder: PostgresFolder, install: Path, run_as: tuple[int, int] | None, password: str) -> None:
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
            raise ServerError(explain(done.stdout + done.stderr, **folder.where())[1])
        part.rename(folder.data)
    except OSError as error:
        raise ServerError(f"A new database cannot be made in {folder.path}: {error.strerror}.") from error
    finally:
        os.close(data_fd)
        os.close(secret_fd)
        shutil.rmtree(part, ignore_errors=True)
