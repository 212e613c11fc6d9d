"""Opens mailgenius with the settings that the command line gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import argparse

    from mailgenius.app import Mailgenius
    from mailgenius.importer import Importer
    from mailgenius.pool import Pool

__all__ = ["opened", "reader"]


def opened(args: argparse.Namespace, *, migrate: bool | None = None) -> Mailgenius:
    """Everything wired, to be used in ``with``."""
    import mailgenius

    return mailgenius.open(args.database_url, home=args.home, migrate=migrate)


def reader() -> Importer:
    """An importer for previews, which touch no database: it has none, so that no server has to start."""
    from mailgenius.config import load
    from mailgenius.importer import Importer

    return Importer(cast("Pool", None), load().importer)
