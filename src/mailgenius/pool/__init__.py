"""Connections to PostgreSQL."""

from ._sync import Pool

__all__ = ["Pool"]
