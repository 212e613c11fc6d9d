"""A place for a process, and those that are in it: the one that works, the one that is to follow it, those that end."""

from __future__ import annotations

from .process import Process
from .restarts import RestartPolicy, Restarts

__all__ = ["Place"]


class Place:
    def __init__(self, number: int, policy: RestartPolicy) -> None:
        self.number = number
        self.restarts = Restarts(policy)
        self.current: Process | None = None
        self.next: Process | None = None  # takes over when it is ready
        self.ending: list[Process] = []
        self.start_at: float | None = None  # when a new one is started
        self.given_up = False
        self.replace = ""  # why the current one is to be replaced; '': it is not

    @property
    def all(self) -> list[Process]:
        return [process for process in (self.current, self.next, *self.ending) if process is not None]

    @property
    def changing(self) -> bool:
        """One follows another."""
        return self.next is not None or bool(self.ending)

    def forget(self, process: Process) -> None:
        """It has ended."""
        if self.current is process:
            self.current = None
        elif self.next is process:
            self.next = None
        else:
            self.ending.remove(process)
