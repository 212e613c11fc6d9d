"""What is to be done with a value that was found: pure functions of its times, the policy, the clock and chance.

Times are seconds since 1970, by the clocks of whoever wrote and whoever reads. They are compared only to decide when to
load again; how long a value exists is the server's to count (``PX``), so that a wrong clock makes values older or younger
to the reader, and never lets one live for ever.
"""

from __future__ import annotations

import enum
import math

__all__ = ["Verdict", "early", "jittered", "lifetime", "verdict"]


class Verdict(enum.Enum):
    FRESH = "fresh"  # serve it
    EARLY = "early"  # serve it, and load anew beside it: it will soon be stale, and chance chose this caller
    STALE = "stale"  # serve it, and load anew beside it
    RESERVE = "reserve"  # load anew; serve it if that fails or takes too long
    EXPIRED = "expired"  # it is not there


def verdict(
    now: float,
    made: float,
    fresh: float,
    *,
    stale_for: float = 0.0,
    fail_safe: float = 0.0,
    load: float = 0.0,
    beta: float = 0.0,
    chance: float = 1.0,
) -> Verdict:
    """Of a value that was made at ``made`` to be fresh for ``fresh`` seconds, and whose load took ``load``.

    ``chance``: a random number from the interval (0, 1]. A value from the future (another machine's clock is ahead) counts
    as made now: else it would stay fresh for as long as the clocks differ.
    """
    age = max(0.0, now - made)
    if age < fresh:
        return Verdict.EARLY if early(fresh - age, load, beta, chance) else Verdict.FRESH
    if age < fresh + stale_for:
        return Verdict.STALE
    if age < fresh + max(stale_for, fail_safe):
        return Verdict.RESERVE
    return Verdict.EXPIRED


def early(left: float, load: float, beta: float, chance: float) -> bool:
    """Whether to load anew ``left`` seconds before the end: XFetch, "Optimal Probabilistic Cache Stampede Prevention"
    (Vattani, Chierichetti, Lowenstein, VLDB 2015). The more callers there are, the earlier one of them does; a longer load
    begins earlier; ``beta`` above 1 is for more haste, 0 for none."""
    return beta > 0 and load > 0 and -load * beta * math.log(chance) >= left


def jittered(ttl: float, jitter: float, chance: float) -> float:
    """``ttl`` seconds up to the part ``jitter`` shorter or longer, so that what was stored together does not end together.
    ``chance`` is from 0 to 1."""
    return ttl * (1.0 + jitter * (2.0 * chance - 1.0))


def lifetime(fresh: float, stale_for: float, fail_safe: float) -> float:
    """Seconds that the server has to keep a value which is fresh for ``fresh``."""
    return fresh + max(stale_for, fail_safe)
