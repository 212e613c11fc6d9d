"""Other ways to get the same file into the same table, each as its authors would write it.

Every module has ``load(path, conninfo) -> Counts``; those that take the clean file say so. They share the server, its
durable settings and the table ``mailgenius.leads`` with the importer.
"""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """What a rival says happened; None where it keeps no account."""

    inserted: int
    duplicates: int | None = None
    rejected: int | None = None
    updated: int | None = None
