"""mailgenius into a table that gets no further indexes: what imports cost without them."""

from __future__ import annotations

from typing import Any

from mailgenius.leads import orders

from . import ours


def load(path: str, conninfo: str, **options: Any) -> ours.Report:
    orders.INDEXES.clear()  # an import makes those that are missing
    return ours.load(path, conninfo, **options)
