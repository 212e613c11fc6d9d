"""How a queue treats its jobs where they do not say themselves."""

from __future__ import annotations

import msgspec

from mailgenius.errors import ConfigError

from .options import Backoff

__all__ = ["PROFILES", "Policy", "policy_for"]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one queue. Times are in seconds."""

    # How often a job is tried before it is dead.
    attempts: int = 3
    # Pauses between attempts.
    backoff: Backoff = Backoff()
    # What a job may take; None: any time.
    timeout: float | None = None
    # Done jobs that are kept to be looked at, the last ones.
    keep_done: int = 100
    # Dead jobs that are kept; -1: all.
    keep_failed: int = 50
    # Dead jobs older than this are forgotten; 0: never.
    keep_failed_for: float = 0.0
    # A worker that does not renew its lease for so long has lost it.
    lease: float = 30.0
    # How often a job may be with a worker that dies.
    max_stalled: int = 1
    # Waiting jobs beyond which adding is refused (QueueFull); 0: any number.
    max_waiting: int = 0
    # Events that are kept for those who follow the queue; 0: none are told.
    events: int = 10_000

    def __post_init__(self) -> None:
        for name, value, least in (
            ("attempts", self.attempts, 1),
            ("keep_done", self.keep_done, 0),
            ("keep_failed", self.keep_failed, -1),
            ("keep_failed_for", self.keep_failed_for, 0),
            ("lease", self.lease, 1),
            ("max_stalled", self.max_stalled, 0),
            ("max_waiting", self.max_waiting, 0),
            ("events", self.events, 0),
        ):
            if value < least:
                raise ConfigError(f"$.queue.{name}: {value} is out of range; give at least {least}")
        if self.keep_done > 5000:
            raise ConfigError(f"$.queue.keep_done: {self.keep_done} is out of range; give at most 5000")
        if self.attempts > 255:
            raise ConfigError(f"$.queue.attempts: {self.attempts} is out of range; give at most 255")


#: Policies of queues that are known by name.
PROFILES: dict[str, Policy] = {
    "email-sending": Policy(attempts=5, backoff=Backoff(base=1.0), keep_done=1000, keep_failed=100),
}


def policy_for(queue: str, policy: Policy | None) -> Policy:
    return policy if policy is not None else PROFILES.get(queue, Policy())
