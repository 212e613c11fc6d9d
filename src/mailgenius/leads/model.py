"""What a lead is, what is answered about leads, and the rules of a workspace's name. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

STATUSES = ("active", "unsubscribed", "bounced", "complained", "pending")
SUPPRESSION_REASONS = ("unsubscribed", "bounced", "complained", "manual", "erased")
OUTCOMES = ("inserted", "updated", "unchanged", "duplicate", "suppressed", "rejected")
_SLUG = re.compile(r"[a-z0-9_-]{1,63}")


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """One person of one workspace. ``email`` is normalised and unique in it."""

    workspace_id: int
    id: int
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    company: str | None = None
    city: str | None = None
    country: str | None = None
    tags: list[str] = []
    attributes: dict[str, Any] = {}
    status: str = "active"
    score: int = 0
    created_at: datetime
    updated_at: datetime
    import_id: int | None = None


COLUMNS = Lead.__struct_fields__


class LeadPage(msgspec.Struct, frozen=True):
    """Some leads in an order, and where it goes on. Give ``next`` or ``previous`` as ``cursor``; None: there are none."""

    leads: list[Lead]
    next: str | None
    previous: str | None


class LeadStats(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace consists of."""

    total: int
    by_status: dict[str, int]  # the most frequent first
    by_day: dict[date, int]  # leads created on each of the last 30 days, in UTC, the oldest first
    top_tags: dict[str, int]  # the ten most frequent
    top_domains: dict[str, int]  # the ten most frequent


class Upserted(msgspec.Struct, frozen=True):
    """What became of one lead given to ``upsert``."""

    email: str  # normalised; as it was given if it was rejected
    outcome: str  # one of OUTCOMES
    id: int | None = None  # of the lead, if it was inserted, updated or unchanged
    reason: str | None = None  # why it was rejected, such as "email.no_at"


def check_slug(slug: str) -> str:
    """``slug`` if it can name a workspace, else ``ConfigError``."""
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise ConfigError(
            f"workspace: {slug!r} is not a workspace name; use 1 to 63 of lower-case letters, digits, - and _"
        )
    return slug
