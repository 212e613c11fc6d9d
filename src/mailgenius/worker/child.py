"""A process that works below a supervisor: ``python -m mailgenius.worker.child ORDER`` (process.py).

It says what it does over a socket, a JSON object a line: ``done`` each second, ``longest`` when it is ready. When that
socket ends, the supervisor has died: it drains then, and ends for certain a little later. SIGUSR2 writes where all
threads stand to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from mailgenius.errors import ConfigError, RedisRefused

from .logs import log_to_stdout
from .target import find
from .watch import imported

if TYPE_CHECKING:
    from mailgenius.worker import Worker

__all__ = ["main"]

_MARGIN = 5.0  # that it may take beyond its grace once its supervisor has died
_CONFIG = 2  # as supervisor.py reads it: there is nothing that could be run
log = logging.getLogger("mailgenius.worker")


class Child:
    """``order``: fd, target, folder, concurrency, grace, log, beat."""

    def __init__(self, order: dict[str, Any]) -> None:
        os.set_inheritable(order["fd"], False)
        self._order = order
        self._socket = socket.socket(fileno=order["fd"])
        self._files: set[str] = set()
        self._grace: float = order["grace"]
        threading.Thread(target=self._watch, name="mailgenius-supervisor", daemon=True).start()

    def _watch(self) -> None:
        """Waits for the supervisor's end. In a thread: a handler may hold up the event loop."""
        with contextlib.suppress(OSError):
            while self._socket.recv(1):
                pass
        log.error("the supervisor has died: what runs is finished, then this process ends too")
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(self._grace + _MARGIN)
        os._exit(1)

    def say(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, or does not listen: no reason to wait
            self._socket.send(msgspec.json.encode(message) + b"\n", socket.MSG_DONTWAIT)

    def say_files(self, error: BaseException | None = None) -> None:
        if new := set(imported(error)) - self._files:
            self._files |= new
            self.say(files=sorted(new))

    def run(self) -> int:
        from mailgenius.worker import Worker

        try:
            worker = find(self._order["target"], Worker, self._order["folder"])
        except ConfigError as error:
            self.say_files(error)
            log.critical("%s", error)
            return _CONFIG
        self.say_files()
        changes = {"grace": self._grace}
        if self._order["concurrency"] is not None:
            changes["concurrency"] = self._order["concurrency"]
        worker._options = msgspec.structs.replace(worker._options, **changes)
        try:
            asyncio.run(self._work(worker))
        except (ConfigError, RedisRefused) as error:
            log.critical("%s", error)
            return _CONFIG
        except Exception:
            log.critical("the worker failed", exc_info=True)
            return 1
        return 0

    async def _work(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        worker.on("failed", lambda job, error: log.error("job failed", extra=_about(job, error)))
        worker.on("retried", lambda job, error, seconds: log.warning("job is tried again", extra=_about(job, error)))
        worker.on("stalled", lambda job: log.warning("job comes from a worker that died", extra=_about(job)))
        worker.on("lost", lambda ids: log.error("leases were lost", extra={"jobs": list(ids)}))
        worker.on("ready", lambda: self.say(longest=_longest(worker)))
        beats = loop.create_task(self._beat(worker))
        try:
            await worker.run()
        finally:
            beats.cancel()

    async def _beat(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(self._order["beat"])
            with contextlib.suppress(RuntimeError):  # it is not running yet
                self.say(done=worker.metrics().done)
            self.say_files()


def _longest(worker: Worker) -> float | None:
    """Seconds that a job may take that does not say itself; None: any time."""
    assert worker._run is not None  # noqa: S101 - for the type checker
    longest = 0.0
    for handler in worker._handlers.values():
        allowed = handler.timeout or worker._run._policy.timeout
        if allowed is None:
            return None
        longest = max(longest, allowed)
    return longest


def _about(job: Any, error: BaseException | None = None) -> dict[str, Any]:
    """No payload: logs are read by many."""
    more = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
    return {"job": job.id, "job_name": job.name, **more}


def main() -> int:
    order = msgspec.json.decode(sys.argv[1])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    log_to_stdout(order["log"])
    return Child(order).run()


if __name__ == "__main__":
    sys.exit(main())
