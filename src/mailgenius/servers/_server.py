"""What all embedded servers share: one user's hold on the server of a data folder.

How processes share it: see _keeper.py (who stops it) and _folder.py (locks and files). Opening takes the lock
``open``, then a shared lock on ``users``, and then finds one of four situations: a server with its keeper (join), a
server whose keeper was killed (give it a new one), remains of a killed server (start over them), nothing (make the
data, start).

Limits: Linux; one machine (locks and sockets do not cross machines or containers with separate process ids).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mailgenius.config import default_home
from mailgenius.errors import ServerError

from ._explain import Failure
from ._folder import Folder, State
from ._sockets import free_port, socket_folder
from ._spawn import reap, start_keeper
from ._system import start_ticks, try_lock, wait_for, works_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class Server(ABC):
    """One user's hold on the server of a data folder. Not for use by several threads at once."""

    # How the server is told to stop: signals, and the seconds each is given. The first is the regular one.
    _stops: ClassVar[tuple[tuple[int, float], ...]]
    _words: ClassVar[tuple[str, str]]  # a setting's False and True
    _folder: Folder

    def __init__(
        self, folder: Folder, port: int | None, settings: Mapping[str, str | int | float | bool] | None, timeout: float
    ) -> None:
        if port is not None and not 0 <= port <= 65535:
            raise ServerError(f"port: {port} is not between 0 and 65535")
        self.data_dir = folder.path
        self._folder = folder
        self._port = port
        self._settings = {
            name: self._words[value] if isinstance(value, bool) else str(value)
            for name, value in (settings or {}).items()
        }
        self._timeout = timeout
        self._users_fd: int | None = None
        self._process = 0
        self._state: State | None = None
        self._password = ""

    # What differs from server to server

    @abstractmethod
    def _make_ready(self, run_as: tuple[int, int] | None) -> tuple[Path, str]:
        """Makes the data if there is none; the program to start and its version."""

    @abstractmethod
    def _configure(self, state: State, run_as: tuple[int, int] | None) -> None:
        """Writes the server's configuration."""

    @abstractmethod
    def _command(self, program: Path, data: str) -> list[str]:
        """The command line; ``data`` is the data folder as the server may call it."""

    @abstractmethod
    def _claim(self, data_fd: int, deadline: float) -> None:
        """Raises if a server that is not ours works on the data, whose descriptor our server will inherit."""

    @abstractmethod
    def _connects(self, deadline: float) -> bool:
        """Whether it takes connections, waiting a second at most."""

    @abstractmethod
    def _explain(self, output: str) -> tuple[Failure, str]:
        """What went wrong, from the server's output."""

    @abstractmethod
    def _socket_files(self, state: State) -> list[str]:
        """The names of the files it makes in its socket folder."""

    # What one asks a running server

    @property
    def pid(self) -> int:
        """The server's main process."""
        return self._running().pid

    @property
    def port(self) -> int | None:
        """The TCP port on 127.0.0.1, if it listens on one."""
        return self._running().port or None

    @property
    def socket_dir(self) -> Path:
        return Path(self._running().socket_dir)

    @property
    def version(self) -> str:
        return self._running().version

    @property
    def log(self) -> Path:
        return self._folder.log

    @property
    def alive(self) -> bool:
        return self._state is not None and start_ticks(self._state.pid) == self._state.started

    def __repr__(self) -> str:
        state = "closed" if self._state is None else f"pid {self._state.pid}, {'up' if self.alive else 'down'}"
        return f"<{type(self).__name__} {str(self.data_dir)!r}, {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Coming and going

    def start(self) -> None:
        """Joins the folder's server, starting it if need be. Does nothing if this object already holds a living one."""
        if self.alive and self._process == os.getpid():
            return
        self._folder.prepare()
        deadline = time.monotonic() + self._timeout
        with self._opening(deadline):
            if self._users_fd is None or self._process != os.getpid():
                self._join_users(deadline)
            try:
                self._find_or_launch(deadline)
            except BaseException:
                self._leave()
                raise

    def close(self) -> None:
        """Leaves. The last user's leaving stops the server, and this returns when it has stopped. Safe to repeat."""
        if self._users_fd is None:
            return
        if self._process != os.getpid():  # a forked child: the lock is the parent's, so only let go of our copy
            self._leave()
            return
        fd = self._users_fd
        with contextlib.suppress(ServerError), self._opening(time.monotonic() + 10):
            # Turning our shared lock into an exclusive one shows whether we are the last. The turn is not atomic: the
            # keeper may come first, which serves as well (then nobody gets a shared lock until the server is gone).
            if try_lock(fd, fcntl.LOCK_EX):
                self._leave(keep_state=True)  # the keeper is waiting for just this
                last = True
            else:
                last = not try_lock(fd, fcntl.LOCK_SH)
                self._leave(keep_state=True)
            if last and not self._keeper_lives():
                self._end(self._stops[0][0])  # the keeper was killed, or has just stopped the server
            elif last:
                wait_for(lambda: not self.alive and not self._keeper_lives(), self._timeout)
            if last and (state := self._folder.state()) is not None and not self._runs(state):
                # Left by a server that was killed or stopped: its keeper kept them for a restart.
                shutil.rmtree(state.socket_dir, ignore_errors=True)
                self._folder.forget_state()
        self._leave()

    def _stop(self, number: int) -> None:
        if self._state is None:
            return
        with self._opening(time.monotonic() + self._timeout):
            self._end(number)
        self.close()

    def _restart(self, number: int) -> None:
        if self._users_fd is None:
            self.start()
            return
        deadline = time.monotonic() + self._timeout
        with self._opening(deadline):
            self._end(number)
            self._find_or_launch(deadline)

    def kill(self) -> None:
        """SIGKILL to the server's main process, for fault tests: its children notice and end; ``restart`` recovers."""
        state = self._running()
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
        if not wait_for(lambda: not self.alive, 10):
            raise ServerError(f"The server (pid {state.pid}) is still there 10 s after SIGKILL.")

    # Inside

    def _running(self) -> State:
        if self._state is None:
            raise ServerError(f"The server on {self.data_dir} is not started (or was closed).")
        return self._state

    @contextlib.contextmanager
    def _opening(self, deadline: float) -> Any:
        fd = self._folder.open_file("open", os.O_RDWR)
        try:
            if not wait_for(lambda: try_lock(fd, fcntl.LOCK_EX), max(deadline - time.monotonic(), 0)):
                raise ServerError(
                    f"Another process has been starting or stopping the server on {self.data_dir} for"
                    f" {self._timeout:g} s."
                    f" See its log: {self.log}"
                )
            yield
        finally:
            os.close(fd)  # which releases the lock

    def _join_users(self, deadline: float) -> None:
        if self._users_fd is not None:  # inherited by fork: the lock behind it is the parent's
            os.close(self._users_fd)
        fd = self._users_fd = self._folder.open_file("users", os.O_RDWR)
        self._process = os.getpid()
        # Refused while the keeper stops a server that had no users left.
        if not wait_for(lambda: try_lock(fd, fcntl.LOCK_SH), max(deadline - time.monotonic(), 0)):
            self._leave()
            raise ServerError(
                f"The server on {self.data_dir} has been stopping for {self._timeout:g} s. Log: {self.log}"
            )

    def _leave(self, *, keep_state: bool = False) -> None:
        if self._users_fd is not None:
            if self._process == os.getpid():
                # Forked children share the lock through their copies of the descriptor: it would outlive the closing.
                fcntl.flock(self._users_fd, fcntl.LOCK_UN)
            os.close(self._users_fd)
            self._users_fd = None
        if not keep_state:
            self._state = None

    def _keeper_lives(self) -> bool:
        reap()
        fd = self._folder.open_file("keeper", os.O_RDWR)
        try:
            return not try_lock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def _has_news(self, known: State | None) -> bool:
        return not self._keeper_lives() or self._folder.state() != known

    def _runs(self, state: State) -> bool:
        """Whether the recorded server lives. Its folder is checked too: after a reboot, or in another container, the
        same pid and start may be another program's."""
        return start_ticks(state.pid) == state.started and works_in(state.pid, self._folder.data)

    def _end(self, number: int) -> None:
        """Stops whatever server runs here, ours or its successor, and waits for its keeper to be gone."""
        state = self._folder.state() or self._state
        if state is not None and self._runs(state):
            deadline = time.monotonic() + self._timeout
            ended = False
            while not ended and time.monotonic() < deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state.pid, number)
                    os.kill(state.pid, signal.SIGCONT)  # a paused server would not hear it
                # Told again and again: Redis 6.2 refuses while it rewrites its log for a replica.
                ended = wait_for(lambda: start_ticks(state.pid) != state.started, 1.0)
            if not ended:
                raise ServerError(
                    f"The server (pid {state.pid}) did not stop within {self._timeout:g} s. Log: {self.log}"
                )
        wait_for(lambda: not self._keeper_lives(), 10)

    def _find_or_launch(self, deadline: float) -> None:
        while True:
            state = self._folder.state()
            watched = self._keeper_lives()
            if state is not None and self._runs(state):
                if not watched:
                    self._adopt(state)
                if self._usable(state, deadline):
                    return
            elif watched:
                # It is about to leave (its server just ended) or to say what it started, or lives where we cannot see it.
                news = partial(self._has_news, state)
                if not wait_for(news, min(10.0, max(deadline - time.monotonic(), 0))):
                    raise ServerError(
                        f"{self.data_dir} is used by a server in another container (its processes are not visible from"
                        " here). Use one data folder per container, or share the server by TCP."
                    )
            elif self._launch(state, deadline):
                return
            if time.monotonic() > deadline:
                raise ServerError(f"No usable server on {self.data_dir} after {self._timeout:g} s. Log: {self.log}")

    def _usable(self, state: State, deadline: float) -> bool:
        """Joins the running server; False if it ended meanwhile. Raises if it is not what was asked for."""
        if self._port is not None and not state.port:
            raise ServerError(
                f"The server on {self.data_dir} already runs, without a TCP port. Close its other users first, or"
                " open it"
                " with port=None."
            )
        if self._port and self._port != state.port:
            raise ServerError(f"The server on {self.data_dir} already runs on port {state.port}, not on {self._port}.")
        different = sorted(name for name, value in self._settings.items() if state.settings.get(name) != value)
        if different:
            raise ServerError(
                f"The server on {self.data_dir} already runs with another {', '.join(different)}. Close its other users"
                " first, or leave the setting out."
            )
        self._password = self._folder.password()
        self._state = state
        if not Path(state.socket_dir).is_dir():
            raise ServerError(
                f"The server on {self.data_dir} (pid {state.pid}) runs, but its socket folder {state.socket_dir} is"
                " gone or"
                " not visible here (a private /tmp?). Stop it, and set TMPDIR to a folder both can see."
            )
        while self.alive and time.monotonic() < deadline:
            if self._connects(deadline):
                return True
        if self.alive:
            raise ServerError(
                f"The server on {self.data_dir} (pid {state.pid}) does not accept connections. Log: {self.log}"
            )
        return False

    def _launch(self, old: State | None, deadline: float) -> bool:
        """Starts a server. False if someone else's keeper came first (left by a process killed while it was
        opening)."""
        folder, run_as = self._folder, self._folder.server_user()
        self._password = folder.password()
        program, release = self._make_ready(run_as)
        folder.trim_log()
        while True:
            port = self._choose_port(old)
            sockets = socket_folder([known for known in (self._state, old) if known], run_as, self._socket_files)
            state = State(0, 0, sockets, port, release, self._settings)
            failure: Failure | None = Failure.FATAL
            try:
                failure, text = self._run(program, run_as, state, deadline)
            finally:
                if failure is not None and (old is None or old.socket_dir != sockets):
                    shutil.rmtree(sockets, ignore_errors=True)
                    if failure is not Failure.BUSY:
                        folder.forget_state()
            if failure is None:
                return True
            if failure is Failure.BUSY:
                return False
            if failure is Failure.PORT and self._port == 0 and time.monotonic() < deadline:
                old = None  # somebody took the free port before us: choose again
            elif failure is not Failure.RETRY or time.monotonic() > deadline:
                raise ServerError(text)

    def _run(
        self, program: Path, run_as: tuple[int, int] | None, state: State, deadline: float
    ) -> tuple[Failure | None, str]:
        """Lets a keeper start the server and waits until it accepts connections."""
        folder = self._folder
        log_fd = folder.open_file(folder.log.name, os.O_WRONLY | os.O_APPEND)
        data_fd = os.open(folder.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                self._claim(data_fd, deadline)
            except ServerError as error:
                if self._keeper_lives():  # it came between our look and now: what works here is its server
                    return Failure.BUSY, str(error)
                raise
            try:
                self._configure(state, run_as)
            except OSError as error:
                raise ServerError(self._explain(str(error))[1]) from error
            before = os.fstat(log_fd).st_size
            order = {
                "command": self._command(program, f"/proc/self/fd/{data_fd}"),
                "stops": self._stops,
                "adopt": 0,
                "data_fd": data_fd,
                "log_fd": log_fd,
                "run_as": run_as,
            }
            report = start_keeper(folder, order, state, (data_fd, log_fd))
            if "pid" in report:
                self._state = State(report["pid"], report["started"] or 0, *_rest(state))
                while time.monotonic() < deadline:
                    if not self.alive or self._connects(deadline):
                        break
                else:
                    raise ServerError(f"The server did not accept connections in time. Log: {self.log}")
                if self.alive:
                    return None, ""
                self._state = None
            if report.get("error") == "busy":
                return Failure.BUSY, ""
            wait_for(lambda: not self._keeper_lives(), 10)
            with self.log.open("rb") as file:
                file.seek(before)
                output = file.read(1 << 20).decode("utf-8", "replace")
            return self._explain(output + report.get("error", ""))
        finally:
            os.close(log_fd)
            os.close(data_fd)

    def _adopt(self, state: State) -> None:
        start_keeper(self._folder, {"adopt": state.pid, "stops": self._stops}, state, ())

    def _choose_port(self, old: State | None) -> int:
        if self._port is None:
            return 0
        if self._port:
            return self._port
        if self._state is not None and self._state.port:
            return self._state.port  # a restart keeps it
        if old is not None and old.port:
            return old.port
        return free_port()


def _rest(state: State) -> tuple[str, int, str, dict[str, str]]:
    return state.socket_dir, state.port, state.version, state.settings


def server_folder(data_dir: str | os.PathLike[str] | None, name: str) -> Path:
    """``data_dir`` as an absolute path; by default the folder ``name`` in the data folder of mailgenius."""
    path = Path(data_dir).expanduser() if data_dir is not None else default_home() / name
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve() fails in folders we may not walk)
