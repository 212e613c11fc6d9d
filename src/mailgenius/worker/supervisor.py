"""Keeps processes working: starts them, replaces those that crash, grow too large or hang, and ends all of them in order.

Invariants:
- It loads no code of the program that it runs, and never asks Redis: what goes wrong there does not reach it.
- One process is replaced at a time, and its successor is ready before it is told to end.
- No process outlives it for long: each sees the end of its socket when the supervisor dies, and drains (child.py).

Each worker has its own keeper, so the leases of a process that dies or is killed are given back at once, whoever watches
it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
from collections.abc import Iterator
from time import monotonic, monotonic_ns
from typing import Any

from .limits import memory_of
from .notify import Notify
from .place import Place
from .plan import Plan
from .process import Process
from .watch import Watch

__all__ = ["CONFIG", "DONE", "FAILED", "GAVE_UP", "TERMINATED", "Supervisor"]

# How run() ends.
DONE = 0
FAILED = 1  # a process had to be killed
CONFIG = 2  # there is nothing that could be run
GAVE_UP = 4  # they crash again and again
TERMINATED = 143  # told twice

_TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_MEMORY_EVERY = 2.0  # seconds
_BEATS = 5  # that may be missing
_START = 120.0  # seconds that a process may take until its event loop runs
log = logging.getLogger("mailgenius.supervisor")


class Supervisor:
    """``run()`` returns when all is over. For the main thread of a process that has no other children."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._places = [Place(number, plan.restarts) for number in range(1, plan.processes + 1)]
        self._notify = Notify(os.environ)
        self._selector = selectors.DefaultSelector()
        self._watch = Watch()
        self._told = 0  # times that we were told to end
        self._code = DONE
        self._announced = False  # READY was said
        self._reloading = False  # systemd waits for READY after SIGHUP
        self._ever_ready = False
        self._jobs = 0  # of processes that have ended
        self._memory_at = self._watchdog_at = 0.0
        # With a terminal, its end means ours; without one SIGHUP asks for new processes.
        self._hup_ends = os.isatty(0)

    def run(self) -> int:
        with self._listening():
            log.info("supervisor starts", extra={"target": self.plan.target, "processes": self.plan.processes})
            self._start(self._places[0])  # the others when it is ready: what is wrong with the program is said once
            while True:
                for key, _ in self._selector.select(self._pause()):
                    key.data()
                self._reap()
                if self._told and not any(place.all for place in self._places):
                    break
                self._look()
        if self._code == GAVE_UP:
            log.error("supervisor gives up")
        log.info("supervisor ends", extra={"code": self._code, "jobs": self._jobs})
        return self._code

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """To signals, which are read as bytes so that none comes between two lines."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in _TOLD}

        def heard() -> None:
            for number in ours.recv(4096):
                self._signal(number)

        self._selector.register(ours, selectors.EVENT_READ, heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            for process in [process for place in self._places for process in place.all]:
                process.signal(signal.SIGKILL)  # only if we fail ourselves
            self._selector.close()
            self._notify.close()
            ours.close()
            theirs.close()

    def _pause(self) -> float:
        """Seconds until something is due."""
        due = [place.start_at for place in self._places if place.start_at is not None]
        due += [process.kill_at for place in self._places for process in place.all if process.kill_at is not None]
        return max(0.0, min([self.plan.tick, *(at - monotonic() for at in due)]))

    # -- processes begin -----------------------------------------------------------------------------------------

    def _start(self, place: Place, *, follows: bool = False) -> None:
        plan = self.plan
        order = {
            "target": plan.target,
            "folder": plan.folder,
            "concurrency": plan.concurrency,
            "grace": plan.grace,
            "log": plan.log,
            "beat": plan.beat,
        }
        place.start_at = None
        try:
            process = Process(order, place.number)
        except OSError as error:  # no memory, no more processes
            log.error("process cannot be started: %s", error, extra={"worker": place.number})
            self._again(place, 0.0)
            return
        if follows:
            place.next = process
        else:
            place.current = process
        self._selector.register(process.socket, selectors.EVENT_READ, lambda: self._read(place, process))
        log.info("process starts", extra={"worker": place.number, "child": process.pid})

    def _read(self, place: Place, process: Process) -> None:
        if not process.read(lambda message: self._hear(place, process, message)):
            self._selector.unregister(process.socket)

    def _hear(self, place: Place, process: Process, message: dict[str, Any]) -> None:
        process.done = message.get("done", process.done)
        self._watch.add(message.get("files", ()))
        if "longest" in message:
            process.ready, process.longest = True, message["longest"]
            log.info("process is ready", extra={"worker": place.number, "child": process.pid})
            if not self._ever_ready and not self._told:
                self._ever_ready = True
                for other in self._places:
                    if not other.all and other.start_at is None:
                        self._start(other)
            if process is place.next and not process.stopping:
                place.current, old, place.next = process, place.current, None
                if old is not None:
                    place.ending.append(old)
                    if not old.stopping:
                        old.stop(self.plan.grace + self.plan.margin)

    # -- and end -------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Ours, and as the first process of a container those whose parents have died."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for place in self._places:
                for process in place.all:
                    if process.pid == pid:
                        if process.socket in self._selector.get_map():
                            self._read(place, process)  # what it said last
                        if process.socket in self._selector.get_map():
                            self._selector.unregister(process.socket)
                        self._ended(place, process, process.ended(status))

    def _ended(self, place: Place, process: Process, how: str) -> None:
        was_current, was_next = process is place.current, process is place.next
        place.forget(process)
        self._jobs += process.done
        more = {"worker": place.number, "child": process.pid, "uptime": round(process.uptime, 3), "how": how}
        if process.stopping and not was_next:
            log.info("process has ended", extra=more)
            if process.killed:
                self._code = self._code or FAILED
            return
        if self._told:
            log.info("process has ended", extra=more)
            return
        what = f"process was killed: {process.killed}" if process.killed else "process crashed"
        log.error(what if process.exit_code else "process ended by itself", extra=more)
        if process.exit_code == CONFIG and not process.ready and not self.plan.reload:
            if not self._ever_ready:
                self._end(CONFIG)
                return
            if was_next:  # the old ones go on with the old code
                log.error("processes are not replaced: the new one does not start", extra={"worker": place.number})
                for other in self._places:
                    other.replace = ""
                self._done_replacing()
                return
        if was_current and place.next is not None:
            place.current, place.next = place.next, None
            return
        self._again(place, process.uptime)

    def _again(self, place: Place, uptime: float) -> None:
        if self.plan.reload:
            log.info("waits for a file to change", extra={"worker": place.number})
            place.replace = ""
            return
        wait = place.restarts.crashed(uptime)
        place.given_up = wait is None
        if wait is not None:
            place.start_at = monotonic() + wait
            log.info("process is started again", extra={"worker": place.number, "after": wait})
            return
        log.error("too many crashes: none is started any more", extra={"worker": place.number})
        place.replace = ""
        if not self._ever_ready or all(other.given_up and other.current is None for other in self._places):
            self._end(GAVE_UP)

    # -- what we are told ----------------------------------------------------------------------------------------

    def _signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT) or (number == signal.SIGHUP and self._hup_ends):
            log.info("told to end", extra={"signal": signal.Signals(number).name})
            self._end(TERMINATED if self._told else DONE)
        elif number == signal.SIGHUP:
            log.info("replaces all processes")
            self._reloading = True
            self._notify.say("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")
            self._replace_all("SIGHUP")

    def _replace_all(self, why: str) -> None:
        for place in self._places:
            place.restarts.forget()
            place.given_up = False
            if place.current is None:
                place.start_at = monotonic()
            else:
                place.replace = why

    def _end(self, code: int) -> None:
        """The first time processes drain, the second time they give back what they do, the third time they are killed."""
        self._told += 1
        self._code = code or self._code
        patience = self.plan.grace + self.plan.margin if self._told == 1 else self.plan.margin
        self._notify.say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round((patience + 5) * 1e6)}")
        for place in self._places:
            place.start_at, place.replace = None, ""
            for process in place.all:
                if self._told > 2:
                    process.kill("told so")
                else:
                    process.stop(patience)

    # -- from time to time ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = monotonic()
        for place in self._places:
            if place.start_at is not None and now >= place.start_at:
                self._start(place, follows=place.current is not None)
            for process in place.all:
                if process.kill_at is not None and now >= process.kill_at:
                    process.kill("it did not end in time")
        if not self._told:
            self._look_for_hung()
            if now >= self._memory_at:
                self._memory_at = now + _MEMORY_EVERY
                self._look_for_large()
            if self.plan.reload and (changed := self._watch.changed()):
                log.info("files changed", extra={"files": changed})
                self._replace_all(f"{changed[0]} changed")
            self._replace_one()
            self._announce()
        self._tell(now)

    def _look_for_hung(self) -> None:
        for place in self._places:
            for process in place.all:
                allowed: float | None = _START
                if process.ready:
                    allowed = self.plan.hung_after
                    if allowed is None and process.longest is not None:
                        allowed = max(process.longest + self.plan.grace, _BEATS * self.plan.beat)
                if allowed is not None and process.silent > allowed and not process.stopping and not process.killed:
                    process.kill(f"its event loop was silent for {process.silent:.0f} s")

    def _look_for_large(self) -> None:
        for place in self._places:
            process = place.current
            if process is None or not process.ready or place.replace or place.given_up:
                continue
            if self.plan.max_jobs and process.done >= self.plan.max_jobs:
                place.replace = f"{process.done:,} jobs done"
            elif self.plan.max_memory and process.uptime >= self.plan.restarts.min_uptime:  # else it begins so
                used = memory_of(process.pid, self.plan.max_memory)
                if used > self.plan.max_memory:
                    place.replace = f"{used / 1e6:,.0f} MB in use, {self.plan.max_memory / 1e6:,.0f} MB allowed"

    def _replace_one(self) -> None:
        if any(place.changing for place in self._places):
            return
        for place in self._places:
            if place.replace and place.current is not None and place.start_at is None:
                log.info("process is replaced", extra={"worker": place.number, "why": place.replace})
                place.replace = ""
                self._start(place, follows=True)
                return
        self._done_replacing()

    def _done_replacing(self) -> None:
        if self._reloading:
            self._reloading = False
            self._notify.say("READY=1")

    def _announce(self) -> None:
        """systemd that we have begun: every process has, or has tried."""
        ready = [place.current is not None and place.current.ready for place in self._places]
        tried = [place.restarts.total > 0 for place in self._places]
        if not self._announced and any(ready) and all(map(max, ready, tried)):
            self._announced = True
            self._notify.say("READY=1")

    def _tell(self, now: float) -> None:
        """systemd, that we live: not while a process is there that cannot even be killed."""
        ready = sum(place.current is not None and place.current.ready for place in self._places)
        jobs = self._jobs + sum(process.done for place in self._places for process in place.all)
        restarts = sum(place.restarts.total for place in self._places)
        state = "ending" if self._told else "working"
        interval = self._notify.interval
        if interval is not None and now >= self._watchdog_at:
            self._watchdog_at = now + interval
            if not any(process.killed and process.kill_at for place in self._places for process in place.all):
                self._notify.say("WATCHDOG=1")
        self._notify.status(f"{state}: {ready} of {len(self._places)} processes, {jobs:,} jobs, {restarts:,} crashes")
