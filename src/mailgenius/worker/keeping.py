"""The worker's side of its keeper (keeper.py): starts it, hears its news, starts another if it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

__all__ = ["Keeping", "shared_memory"]

_PAUSE = 1.0  # seconds until another keeper is started for one that could not begin


def shared_memory(size: int) -> tuple[int, mmap.mmap]:
    """Zeros that other processes can be given, by this file descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("mailgenius-worker")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd, mmap.mmap(fd, size)


class Keeping:
    """``order``: what the keeper is told, but the memory. ``heard(shard, lost, cancelled)``: its news. ``broke(error)``: it
    could not be started, or ended."""

    def __init__(
        self,
        order: dict[str, Any],
        memory: int,
        heard: Callable[[int, list[bytes], set[str]], object],
        broke: Callable[[BaseException], object],
    ) -> None:
        self._order = order | {"memory": memory, "pid": os.getpid()}
        self._memory, self._heard, self._broke = memory, heard, broke
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0
        self.ready: set[int] = set()  # shards whose leases it renews
        self._text = b""
        self._again: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Raises OSError if processes cannot be started."""
        self._again = None
        process = subprocess.Popen(
            [sys.executable, "-m", "mailgenius.worker.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._memory,),
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        self._process, self._text = process, b""
        self.started += 1
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(self._order).encode() + b"\n")
            process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        self._loop.add_reader(process.stdout.fileno(), self._read, process)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            text = os.read(process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not text:
            # One that had been at work is replaced at once; one that cannot begin shall not be started again and again.
            pause = 0.0 if self.ready else _PAUSE
            self.ready.clear()
            self._forget(process)
            self._again = self._loop.call_later(pause, self._restart)
            self._broke(RuntimeError(f"The keeper ended with exit code {process.wait(1.0)}: another one is started"))
            return
        *lines, self._text = (self._text + text).split(b"\n")
        for line in lines:
            news = json.loads(line)
            self.ready.add(news["shard"])
            self._heard(news["shard"], [token.encode() for token in news["lost"]], set(news["cancelled"]))

    def _restart(self) -> None:
        try:
            self.start()
        except OSError as error:
            self._broke(error)
            self._again = self._loop.call_later(_PAUSE, self._restart)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        self._loop.remove_reader(process.stdout.fileno())
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()

    async def close(self, timeout: float) -> None:
        """It gives back what is still leased, and ends; ``timeout``: seconds to wait for that. It does so in any case."""
        if self._again is not None:
            self._again.cancel()
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdin.closed:
            return
        self._forget(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, timeout)
