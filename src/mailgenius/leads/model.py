"""What a lead is, and the rules of a workspace's name. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

STATUSES = ("active", "unsubscribed", "bounced", "complained", "pending")
SUPPRESSION_REASONS = ("unsubscribed", "bounced", "complained", "manual", "erased")
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
    leads: list[Lead]
    next: int | None  # give it as `after` for the next page; None: this was the last


def check_slug(slug: str) -> str:
    """``slug`` if it can name a workspace, else ``ConfigError``."""
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        raise ConfigError(
            f"workspace: {slug!r} is not a workspace name; use 1 to 63 of lower-case letters, digits, - and _"
        )
    return slug
