"""An embedded PostgreSQL: ``postgres(data_dir)`` starts one, or joins the one that already runs on that folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

from ._binaries import runnable_install
from ._cluster import DATABASE, USER, make_cluster
from ._explain import Failure, explain
from ._folder import State
from ._postgres_folder import PostgresFolder
from ._server import Server, server_folder
from ._settings import conf_text, embedded_settings
from ._system import memory_bytes, shm_bytes, start_ticks, wait_for, works_in

if TYPE_CHECKING:
    from collections.abc import Mapping

MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SOCKET_PORT = 5432  # part of the socket's name; each server has a folder of its own for it


def postgres(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    settings: Mapping[str, str | int | float | bool] | None = None,
    timeout: float = 120.0,
) -> PostgresServer:
    """A running PostgreSQL on ``data_dir`` (default: ``postgres`` in the data folder of mailgenius). Use it in
    ``with``.

    ``port``: also listen on 127.0.0.1, on this port or on a free one (0); None means the Unix socket only. ``settings``
    override ``embedded_settings`` when the server has to be started. ``timeout``: seconds until it must accept
    connections; recovery after a crash counts. Raises ``ServerError``.
    """
    server = PostgresServer(data_dir, port=port, settings=settings, timeout=timeout)
    server.start()
    return server


class PostgresServer(Server):
    """One user's hold on the server of a data folder. Not for use by several threads at once."""

    _folder: PostgresFolder
    _stops = ((signal.SIGINT, 120.0), (signal.SIGQUIT, 20.0))
    _words = ("off", "on")

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, str | int | float | bool] | None = None,
        timeout: float = 120.0,
    ) -> None:
        super().__init__(PostgresFolder(server_folder(data_dir, "postgres")), port, settings, timeout)

    @property
    def dsn(self) -> str:
        """A libpq connection string, password included. By TCP if a port was asked for, else by the Unix socket."""
        state = self._running()
        return self._conninfo("127.0.0.1" if self._port is not None and state.port else state.socket_dir, state)

    def stop(self, mode: str = "fast") -> None:
        """Stops the server for everyone now, and leaves. Modes as of pg_ctl: smart, fast, immediate (needs
        recovery)."""
        if mode not in MODES:
            raise ServerError(f"stop: unknown mode {mode!r}; one of {', '.join(MODES)}")
        self._stop(MODES[mode])

    def restart(self, mode: str = "fast") -> None:
        """Stops the server if it runs and starts it again: same folder, socket, port; so connection strings stay
        valid."""
        if mode not in MODES:
            raise ServerError(f"restart: unknown mode {mode!r}; one of {', '.join(MODES)}")
        self._restart(MODES[mode])

    # Inside

    def _conninfo(self, host: str, state: State) -> str:
        quoted = host.replace("\\", "\\\\").replace("'", "\\'")
        port = state.port or SOCKET_PORT
        return f"host='{quoted}' port={port} user={USER} dbname={DATABASE} password={self._password}"

    def _make_ready(self, run_as: tuple[int, int] | None) -> tuple[Path, str]:
        install, release = runnable_install(run_as)
        self._folder.remove_leftovers()
        if not self._folder.data.exists():
            make_cluster(self._folder, install, run_as, self._password)
        return install / "bin" / "postgres", release

    def _configure(self, state: State, run_as: tuple[int, int] | None) -> None:
        fixed = {
            "listen_addresses": "127.0.0.1" if state.port else "",
            "port": str(state.port or SOCKET_PORT),
            "unix_socket_directories": state.socket_dir,
            "unix_socket_permissions": "0700",
            "cluster_name": "mailgenius",
        }
        conf = embedded_settings(memory_bytes(), shm=shm_bytes()) | self._settings | fixed
        self._folder.write_data("postgresql.conf", conf_text(conf), run_as)

    def _command(self, program: Path, data: str) -> list[str]:
        return [str(program), "-D", data]

    def _explain(self, output: str) -> tuple[Failure, str]:
        return explain(output, **self._folder.where())

    def _socket_files(self, state: State) -> list[str]:
        name = f".s.PGSQL.{state.port or SOCKET_PORT}"
        return [name, f"{name}.lock"]

    def _connects(self, deadline: float) -> bool:
        import psycopg

        if not wait_for(self._ready, min(1.0, max(deadline - time.monotonic(), 0))):
            return False
        try:
            # By the socket even if a port was asked for: someone else may be listening there.
            conninfo = self._conninfo(self._running().socket_dir, self._running())
            with psycopg.connect(conninfo, dbname="postgres", connect_timeout=5, autocommit=True) as connection:
                known = connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone()
                if known is None:
                    connection.execute(f"create database {DATABASE}")
        except psycopg.OperationalError as error:
            text = str(error)
            if "password authentication failed" in text:
                raise ServerError(
                    f"The password in {self.data_dir / 'password'} does not open the server: the file was changed,"
                    " or lost"
                    " and made anew. Put the old one back."
                ) from error
            if "No space left" in text:
                raise ServerError(self._explain(text)[1]) from error
            return False
        return True

    def _ready(self) -> bool:
        found = self._folder.postmaster_pid()
        return not self.alive or (found is not None and found[1] == "ready")

    def _claim(self, data_fd: int, deadline: float) -> None:
        """A pid file may be stale (even when its pid lives again as another program), or show a server that is not
        ours."""
        found = self._folder.postmaster_pid()
        if found is not None and start_ticks(found[0]) is not None and works_in(found[0], self._folder.data):
            raise ServerError(
                f"Another PostgreSQL (pid {found[0]}), not started by mailgenius, works in {self._folder.data}."
                " Stop it"
                " first."
            )
        with contextlib.suppress(FileNotFoundError):
            (self._folder.data / "postmaster.pid").unlink()
