"""An embedded Valkey: ``valkey(data_dir)`` starts one, or joins the one that already runs on that folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mailgenius.errors import ServerError

from ._binaries import runnable_valkey
from ._explain import Failure
from ._folder import State
from ._resp import Refusal, ask
from ._server import Server, server_folder
from ._system import memory_bytes, stopped, try_lock, wait_for
from ._valkey_explain import explain_valkey
from ._valkey_folder import ValkeyFolder
from ._valkey_settings import embedded_valkey_settings, valkey_conf

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "valkey.sock"


def valkey(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    settings: Mapping[str, str | int | float | bool] | None = None,
    program: str | os.PathLike[str] | None = None,
    timeout: float = 120.0,
) -> ValkeyServer:
    """A running Valkey on ``data_dir`` (default: ``valkey`` in the data folder of mailgenius). Use it in ``with``.

    ``port``: also listen on 127.0.0.1, on this port or on a free one (0); None means the Unix socket only. ``settings``
    override ``embedded_valkey_settings`` when the server has to be started; ``{"requirepass": ""}`` lets everyone in
    who reaches it. ``program``: another server than the wheel's, Redis 6.2 or newer. ``timeout``: seconds until it must
    answer; loading the data counts. Raises ``ServerError``.
    """
    server = ValkeyServer(data_dir, port=port, settings=settings, program=program, timeout=timeout)
    server.start()
    return server


class ValkeyServer(Server):
    """One user's hold on the server of a data folder. Not for use by several threads at once."""

    _folder: ValkeyFolder
    _stops = ((signal.SIGTERM, 60.0),)
    _words = ("no", "yes")

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, str | int | float | bool] | None = None,
        program: str | os.PathLike[str] | None = None,
        timeout: float = 120.0,
    ) -> None:
        super().__init__(ValkeyFolder(server_folder(data_dir, "valkey")), port, settings, timeout)
        self._program = None if program is None else Path(program).absolute()

    @property
    def url(self) -> str:
        """``redis://`` if a port was asked for, else ``unix://``; password included."""
        state = self._running()
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        if self._port is not None and state.port:
            return f"redis://{secret}127.0.0.1:{state.port}/0"
        return f"unix://{secret}{quote(str(self.socket))}?db=0"

    @property
    def socket(self) -> Path:
        """The path of its Unix socket."""
        return self.socket_dir / SOCKET

    @property
    def password(self) -> str:
        """The password of the user ``default``; empty if the setting ``requirepass`` says so."""
        return self._running().settings.get("requirepass", self._password)

    @property
    def paused(self) -> bool:
        return stopped(self.pid)

    def ask(self, *command: str | bytes | int) -> Any:
        """The reply to one command, by the Unix socket on a connection of its own: for scripts and tests.

        Strings are str where they are UTF-8, else bytes. Raises ``ServerError`` for an error and if it is down.
        """
        try:
            *_, reply = self._ask(command)
        except OSError as error:
            raise ServerError(f"The server on {self.data_dir} does not answer: {error}. Log: {self.log}") from error
        if isinstance(reply, Refusal):
            raise ServerError(f"{command[0]!s}: {reply}")
        return reply

    def stop(self) -> None:
        """Stops the server for everyone now, and leaves."""
        self._stop(signal.SIGTERM)

    def restart(self) -> None:
        """Stops the server if it runs and starts it again: same folder, socket, port; so URLs stay valid."""
        self._restart(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP, for fault tests: connections stay open, new ones are accepted by the kernel, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        if not wait_for(lambda: self.paused, 10):
            raise ServerError(f"The server (pid {self.pid}) does not stop at SIGSTOP.")

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile is answered now."""
        os.kill(self.pid, signal.SIGCONT)

    # Inside

    def _make_ready(self, run_as: tuple[int, int] | None) -> tuple[Path, str]:
        program, release = runnable_valkey(self._program, run_as)
        data = self._folder.data
        if not data.exists():
            try:
                data.mkdir(mode=0o700)
                if run_as is not None:
                    os.chown(data, *run_as)
            except OSError as error:
                raise ServerError(f"{data} cannot be made: {error.strerror}.") from error
        conf = self._defaults() | self._settings
        self._folder.check_history(append_only=conf.get("appendonly") == "yes", release=release)
        return program, release

    def _claim(self, data_fd: int, deadline: float) -> None:
        # A killed server's child may still be rewriting the log, or a killed opener's keeper be about to start a server.
        free = partial(try_lock, data_fd, fcntl.LOCK_EX)
        wait_for(lambda: free() or self._keeper_lives(), max(0.0, min(10.0, deadline - time.monotonic())))
        if not free():
            raise ServerError(
                f"Another server, not known to mailgenius, works in {self._folder.data}. Stop it first (fuser -v"
                f" '{self._folder.data}')."
            )
        self._folder.remove_leftovers()

    def _configure(self, state: State, run_as: tuple[int, int] | None) -> None:
        self._folder.write_data("valkey.conf", self._text(state), run_as)

    def _text(self, state: State) -> str:
        """The configuration file."""
        fixed = {
            "bind": "127.0.0.1",
            "port": str(state.port),
            "unixsocket": f"{state.socket_dir}/{SOCKET}",
            "unixsocketperm": "700",
            "daemonize": "no",
            "dir": ".",
            "logfile": "",
        }
        return valkey_conf({"requirepass": self._password} | self._defaults() | self._settings | fixed)

    def _defaults(self) -> dict[str, str]:
        return embedded_valkey_settings(memory_bytes())

    def _command(self, program: Path, data: str) -> list[str]:
        return [str(program), f"{data}/valkey.conf"]

    def _explain(self, output: str) -> tuple[Failure, str]:
        return explain_valkey(output, **self._folder.where())

    def _socket_files(self, state: State) -> list[str]:
        return [SOCKET]

    def _ask(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        first = [("AUTH", self.password)] if self.password else []
        return ask(str(self.socket), *first, *commands)

    def _connects(self, deadline: float) -> bool:
        return wait_for(lambda: not self.alive or self._answers(), min(1.0, max(deadline - time.monotonic(), 0)))

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            first, *_, last = self._ask(("PING",), ("PING",))
            if isinstance(first, Refusal) and first.startswith("WRONGPASS"):
                raise ServerError(
                    f"The password in {self.data_dir / 'password'} does not open the server: the file was changed, or"
                    " lost and made anew. Put the old one back, or stop the server."
                )
            # Whatever else it says (a script runs, the disk is full), it is up.
            return not (isinstance(last, Refusal) and last.startswith("LOADING"))
        return False
