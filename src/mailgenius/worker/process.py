"""A process that works, as its supervisor sees it. It hears from it by a socket, which also tells the process, by its end,
when the supervisor has died."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgspec

__all__ = ["Process"]

_MOST = 1 << 16
_decode = msgspec.json.decode


class Process:
    """Starts one. ``order``: what child.py is to do. ``number``: which place it has."""

    def __init__(self, order: dict[str, Any], number: int) -> None:
        ours, theirs = socket.socketpair()
        self.number = number
        self.socket = ours
        self.started = self.heard = monotonic()
        self.ready = False
        self.done = 0  # jobs
        self.longest: float | None = None  # seconds that a job may take
        self.stopping = False  # it was told to end
        self.killed = ""  # why it was not given the time to end
        self.kill_at: float | None = None
        self._rest = b""
        ours.setblocking(False)
        try:
            # -P: files of the current folder come into play when its module is imported, not before.
            # A group of its own: Ctrl-C is for the supervisor, which tells the others.
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "mailgenius.worker.child",
                    msgspec.json.encode(order | {"fd": theirs.fileno()}),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._popen.pid

    @property
    def uptime(self) -> float:
        return monotonic() - self.started

    @property
    def silent(self) -> float:
        """Seconds since its event loop was heard of."""
        return monotonic() - self.heard

    def read(self, hear: Callable[[dict[str, Any]], object]) -> bool:
        """Gives all that it has said; False: it will say no more."""
        while True:
            try:
                data = self.socket.recv(_MOST)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.heard = monotonic()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                hear(_decode(line))

    def stop(self, grace: float) -> None:
        """It is to finish what it does, the second time to give it back. After ``grace`` seconds it is killed."""
        self.stopping = True
        self.kill_at = monotonic() + grace
        self.signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """Where it stands comes to standard error first (child.py), though it may hold the interpreter."""
        if not self.killed:
            self.killed = why
            self.signal(signal.SIGUSR2)
            self.kill_at = monotonic() + 0.2
        else:
            self.signal(signal.SIGKILL)
            self.kill_at = monotonic() + 1.0

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)  # it is ours until it is reaped, so this is nobody else
        if number == signal.SIGTERM:
            self.signal(signal.SIGCONT)  # a stopped one would not hear it

    def ended(self, status: int) -> str:
        """It was reaped; how it ended, for people."""
        code = os.waitstatus_to_exitcode(status)
        self._popen.returncode = code
        self.socket.close()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    @property
    def exit_code(self) -> int:
        """Negative: a signal."""
        code: int = self._popen.returncode
        return code
