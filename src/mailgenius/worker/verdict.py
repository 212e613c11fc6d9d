"""What becomes of a job that failed. Pure."""

from __future__ import annotations

import traceback

import msgspec

from mailgenius.errors import JobCancelled, JobFailed, JobRetry
from mailgenius.queue.options import Options
from mailgenius.queue.policy import Policy
from mailgenius.queue.records import Failure, pack_failure

__all__ = ["Dead", "Retry", "dead", "verdict"]

_LONGEST_MESSAGE = 1000  # characters
_LONGEST_TRACE = 4000


class Retry(msgspec.Struct, frozen=True):
    """It is tried again after so many seconds. ``counts``: as one of its attempts."""

    after: float
    counts: bool = True


class Dead(msgspec.Struct, frozen=True):
    """It is not."""


def verdict(
    error: BaseException, attempts: int, options: Options | None, policy: Policy, chance: float
) -> Retry | Dead:
    """``attempts``: that failed before; ``chance``: a random number from 0 to 1, for the pause."""
    allowed, backoff = policy.attempts, policy.backoff
    if options is not None:
        allowed = allowed if options.attempts is None else options.attempts
        backoff = backoff if options.backoff is None else options.backoff
    if isinstance(error, JobRetry) and not error.counts:
        return Retry(error.after, False)
    if isinstance(error, JobFailed | JobCancelled) or attempts + 1 >= allowed:
        return Dead()
    return Retry(error.after if isinstance(error, JobRetry) else backoff.delay(attempts + 1, chance))


def dead(error: BaseException, attempts: int, worker: str, at: int) -> bytes:
    """Why, for those who look. ``at``: milliseconds since 1970."""
    lines = traceback.format_exception(type(error), error, error.__traceback__) if error.__traceback__ else []
    text = "".join(lines)
    if len(text) > _LONGEST_TRACE:
        text = "…" + text[-_LONGEST_TRACE:]
    return pack_failure(Failure(type(error).__name__, str(error)[:_LONGEST_MESSAGE], text, attempts, worker, at))
