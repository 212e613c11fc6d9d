"""``mailgenius migrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from mailgenius.cli.exits import Exit
from mailgenius.cli.opening import opened

if TYPE_CHECKING:
    import argparse

    from mailgenius.cli.terminal import Terminal

__all__ = ["run"]


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    from mailgenius.leads import migration_status

    with opened(args, migrate=True) as mg:
        there = migration_status(mg.pool)
    for migration in there:
        applied = f"applied {migration.applied_at:%Y-%m-%d %H:%M:%S %Z}" if migration.applied_at else "pending"
        terminal.show(Text(f"{migration.number:04} {migration.name}  {applied}"))
    terminal.show(Text("The schema is up to date."))
    terminal.document({"migrations": msgspec.to_builtins(there)})
    return Exit.DONE
