"""The data folder of one embedded Valkey: a ``Folder`` with the server's files in it.

    valkey.log
    data/       appendonlydir/ (the log of writes), dump.rdb if snapshots were asked for, valkey.conf

Invariant: the server holds a flock on data/ for as long as it lives, and so do the children it forks (through the
descriptor it inherits), so two servers never write the same log.
"""

from __future__ import annotations

import re

from mailgenius.errors import ServerError

from ._folder import Folder

_FOREIGN = ("appendonlydir", "appendonly.aof", "dump.rdb", "nodes.conf")


class ValkeyFolder(Folder):
    program = "Valkey"
    data_name = "data"
    log_name = "valkey.log"
    ours = re.compile(r"open|users|keeper|server\.json(\.part)?|password|valkey\.log(\.1)?|data")

    def _refuse_foreign_data(self) -> None:
        for name in _FOREIGN:
            if (self.path / name).exists():
                raise ServerError(
                    f"{self.path} is the data folder of a Valkey or Redis (it holds {name}) that mailgenius did not"
                    " make. Choose another folder, or run that server yourself and give its URL as redis_url."
                )

    def _check_data(self) -> None:
        log = self.data / "appendonlydir"
        try:
            names = [path.name for path in log.iterdir()] if log.exists() else []
        except OSError as error:
            raise ServerError(f"{error.filename or log} cannot be used: {error.strerror}.") from error
        if any(name.endswith((".aof", ".rdb")) for name in names) and "appendonly.aof.manifest" not in names:
            # The server would begin an empty log in its place.
            raise ServerError(
                f"{log} has lost its appendonly.aof.manifest. Restore a backup, or move {self.path} aside to start"
                " with no data."
            )

    def check_history(self, *, append_only: bool, release: str) -> None:
        """Raises if a server of this version, with or without a log of writes, would overlook the data that is
        here."""
        parts = (self.data / "appendonlydir" / "appendonly.aof.manifest").exists()
        logged = parts or (self.data / "appendonly.aof").exists()
        if logged and not append_only:
            raise ServerError(
                f"The data in {self.path} is a log of writes (appendonly), which appendonly=no would overlook. Leave"
                " the setting out, or choose another data folder."
            )
        if parts and int(release.partition(".")[0]) < 7:
            raise ServerError(
                f"The data in {self.path} was written by Valkey, or Redis 7 or newer, and version {release} would"
                " overlook it. Start a newer server, or choose another data folder."
            )
        if append_only and not logged and (self.data / "dump.rdb").exists():
            raise ServerError(
                f"The data in {self.path} is a snapshot (dump.rdb), which appendonly=yes would overlook. Open it with"
                " settings={'appendonly': 'no'}, run CONFIG SET appendonly yes, wait until INFO persistence says"
                " aof_rewrite_in_progress:0, and close it; then it has a log."
            )

    def remove_leftovers(self) -> None:
        """What a killed rewrite left; no server lives."""
        for part in self.data.glob("temp-*"):
            part.unlink(missing_ok=True)
