"""The data folder of one embedded PostgreSQL: a ``Folder`` with a cluster in it.

    postgres.log
    pgdata/     the cluster; pgdata.new-* while one is being made

Invariant: pgdata appears complete or not at all (it is renamed into place).
"""

from __future__ import annotations

import re
import shutil

from mailgenius.errors import ServerError

from ._binaries import MAJOR
from ._folder import Folder


class PostgresFolder(Folder):
    program = "PostgreSQL"
    data_name = "pgdata"
    log_name = "postgres.log"
    ours = re.compile(r"open|users|keeper|server\.json(\.part)?|password|postgres\.log(\.1)?|pgdata|pgdata\.new-\w+")

    def _refuse_foreign_data(self) -> None:
        if (self.path / "PG_VERSION").exists():
            raise ServerError(
                f"{self.path} is the data folder of a PostgreSQL (version"
                f" {(self.path / 'PG_VERSION').read_text().strip()}) that mailgenius did not make. Choose another"
                " folder, or run that server yourself and give its URL as database_url."
            )

    def _check_data(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            raise ServerError(
                f"{self.data} is not a complete PostgreSQL data folder (PG_VERSION is missing or unreadable)."
                " Restore a backup, or move the folder aside to start with an empty database."
            ) from None
        except OSError as error:
            raise ServerError(f"{error.filename or self.data} cannot be used: {error.strerror}.") from error
        if found != str(MAJOR):
            older = found.isdigit() and int(found) < MAJOR
            raise ServerError(
                f"{self.data} holds data of PostgreSQL {found}, this mailgenius starts PostgreSQL {MAJOR}. "
                + (
                    f"Dump it with the programs of version {found} (pg_dumpall), move the folder aside, start again and"
                    " load the dump; or convert it with pg_upgrade."
                    if older
                    else "Install the newer mailgenius that made it, or choose another data folder."
                )
            )

    def postmaster_pid(self) -> tuple[int, str] | None:
        """Pid and status ("starting", "ready", …) from the server's own pid file; None if there is none."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def remove_leftovers(self) -> None:
        """What a killed initdb left."""
        for part in self.path.glob("pgdata.new-*"):
            shutil.rmtree(part, ignore_errors=True)
