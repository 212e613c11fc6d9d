"""Rate limits, as values. Pure."""

from __future__ import annotations

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["Limit"]


class Limit(msgspec.Struct, frozen=True):
    """A rate limit: ``rate`` jobs in ``per`` seconds, and at most ``burst`` at once."""

    rate: float
    per: float
    burst: float

    def __post_init__(self) -> None:
        for name, value, least in (("rate", self.rate, 1e-6), ("per", self.per, 0.001), ("burst", self.burst, 1)):
            if not least <= value <= 1e9:
                raise ConfigError(f"$.queue.limit.{name}: {value} is out of range; give {least:g} to 1,000,000,000")

    @property
    def text(self) -> str:
        """As the scripts read it."""
        return f"{self.rate:.9g} {self.per * 1000:.9g} {self.burst:.9g}"

    @classmethod
    def of(cls, text: bytes) -> Limit:
        rate, per, burst = map(float, text.split())
        return cls(rate, per / 1000, burst)
