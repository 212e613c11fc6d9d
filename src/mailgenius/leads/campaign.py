"""What is answered about campaigns: the structs, and how they are made from kept counters. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

PERIODS = ("hour", "day")
#: number -> the kinds of kept counters that it is the sum of
_BOUNCED = ("bounced", "bounced_hard", "bounced_soft")
SUMS: dict[str, tuple[str, ...]] = {
    "queued": ("queued",),
    "sent": ("sent", "delivered", "complained", *_BOUNCED),
    "delivered": ("delivered", "complained"),
    "failed": ("failed",),
    "bounced": _BOUNCED,
    "bounced_hard": ("bounced_hard",),
    "bounced_soft": ("bounced_soft",),
    "complained": ("complained",),
    "opens": ("open",),
    "unique_opens": ("open_unique",),
    "clicks": ("click",),
    "unique_clicks": ("click_unique",),
    "unsubscribes": ("unsubscribe",),
    "unique_unsubscribes": ("unsubscribe_unique",),
}


class CampaignCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign and what became of it. Exact, at one moment. Rates are between 0 and 1; None: of nothing."""

    id: int
    name: str
    status: str
    created_at: datetime
    queued: int  # sends that wait
    sent: int  # handed over: those delivered, bounced and complained about too
    delivered: int  # known to be: where nobody reports it, 0
    failed: int  # never handed over
    bounced: int
    bounced_hard: int  # for good: the error begins with 5 (RFC 5321, RFC 3463)
    bounced_soft: int  # not for good: with 4. Of the rest it is not known
    complained: int
    opens: int
    unique_opens: int  # leads who opened it at least once
    clicks: int
    unique_clicks: int
    unsubscribes: int
    unique_unsubscribes: int

    @property
    def reached(self) -> int:
        """Sent and not bounced: what the rates of opens, clicks, unsubscribes and complaints are of."""
        return self.sent - self.bounced

    @property
    def bounce_rate(self) -> float | None:
        return _rate(self.bounced, self.sent)

    @property
    def delivery_rate(self) -> float | None:
        return _rate(self.delivered, self.sent)

    @property
    def open_rate(self) -> float | None:
        return _rate(self.unique_opens, self.reached)

    @property
    def click_rate(self) -> float | None:
        return _rate(self.unique_clicks, self.reached)

    @property
    def click_to_open_rate(self) -> float | None:
        return _rate(self.unique_clicks, self.unique_opens)

    @property
    def unsubscribe_rate(self) -> float | None:
        return _rate(self.unique_unsubscribes, self.reached)

    @property
    def complaint_rate(self) -> float | None:
        return _rate(self.complained, self.reached)


class CampaignStats(CampaignCounts, frozen=True, kw_only=True):
    """The same, and when it was: the hour (UTC), of sends that in which they were created. None: never."""

    first_sent: datetime | None
    last_sent: datetime | None
    first_activity: datetime | None
    last_activity: datetime | None


class CampaignPoint(msgspec.Struct, frozen=True, kw_only=True):
    """An hour or a day (UTC) of a campaign: sends by when they were created, activities by when they happened."""

    at: datetime  # its beginning
    queued: int
    sent: int
    delivered: int
    failed: int
    bounced: int
    bounced_hard: int
    bounced_soft: int
    complained: int
    opens: int
    clicks: int
    unsubscribes: int


_NOTHING = dict.fromkeys(CampaignPoint.__struct_fields__[1:], 0)
#: kind -> the numbers of a point that it belongs to
_PARTS = {kind: [name for name in _NOTHING if kind in SUMS[name]] for kinds in SUMS.values() for kind in kinds}
_TIMES = CampaignStats.__struct_fields__[len(CampaignCounts.__struct_fields__) :]


def counts(row: Sequence[Any]) -> CampaignCounts:
    """From a row of ``campaigns.sql``."""
    return CampaignCounts(**_counted(row))


def stats(row: Sequence[Any], times: Sequence[Any]) -> CampaignStats:
    """From a row of ``campaigns.sql`` and one of ``campaign_times.sql``."""
    return CampaignStats(**_counted(row), **dict(zip(_TIMES, times, strict=True)))


def points(rows: Iterable[Sequence[Any]]) -> list[CampaignPoint]:
    """From rows (moment, kind, count) in order of moments."""
    moments: dict[datetime, dict[str, int]] = {}
    for at, kind, count in rows:
        if (sums := moments.get(at)) is None:
            sums = moments[at] = _NOTHING.copy()
        for name in _PARTS[kind]:
            sums[name] += count
    return [CampaignPoint(at=at.astimezone(UTC), **sums) for at, sums in moments.items()]


def check_period(by: str) -> str:
    if by not in PERIODS:
        raise ConfigError(f"by: {by!r} is none of {', '.join(PERIODS)}")
    return by


def _counted(row: Sequence[Any]) -> dict[str, Any]:
    number, name, status, created_at, kinds, ns = row
    kept: Mapping[str, int] = dict(zip(kinds or (), ns or (), strict=True))
    sums = {name: sum(kept.get(kind, 0) for kind in parts) for name, parts in SUMS.items()}
    return {"id": number, "name": name, "status": status, "created_at": created_at, **sums}


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
