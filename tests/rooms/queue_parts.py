"""What the model of a queue is made of."""

from __future__ import annotations

from collections.abc import Iterable


class Job:
    def __init__(self, id: str, number: int, place: str, state: str) -> None:
        self.id, self.number, self.place, self.state = id, number, place, state
        self.due = 0
        self.stalls = 0
        self.key = ""
        self.parent: Job | None = None
        self.children = 0
        self.runs = 0

    def __repr__(self) -> str:
        return f"<{self.id} {self.state} #{self.number}>"


class Bucket:
    """The tokens of one limit: ``rate`` in ``per`` milliseconds, at most ``burst`` at once."""

    def __init__(self, rate: int, per: int, burst: int, now: int) -> None:
        self.rate, self.per, self.burst, self.tokens, self.at = rate, per, burst, float(burst), now

    def spend(self, n: int, now: int) -> bool:
        """Takes so many; whether there were that many."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate / self.per)
        self.at = now
        self.tokens -= n
        return self.tokens > -0.001


class Lease:
    def __init__(self, worker: str, token: str, ends: int, jobs: dict[int, Job], own: dict[int, bool]) -> None:
        self.worker, self.token, self.ends, self.jobs, self.own = worker, token, ends, jobs, own


def indexes(chosen: Iterable[int]) -> bytes:
    """As scripts take them."""
    return b"".join(i.to_bytes(2, "big") for i in sorted(chosen))
