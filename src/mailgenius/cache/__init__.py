"""Caches: what they keep for how long (policy), under which names (keys), and in which form (codec)."""

from __future__ import annotations

from .policy import SOURCE_REGIONS, Region, check_regions

__all__ = ["SOURCE_REGIONS", "Region", "check_regions"]
