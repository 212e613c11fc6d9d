"""``mailgenius leads count`` and ``mailgenius leads show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailgenius.cli.exits import Exit
from mailgenius.cli.opening import opened
from mailgenius.cli.text import clip, number, visible
from mailgenius.errors import NotFound

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mailgenius.cli.terminal import Terminal
    from mailgenius.leads import Lead, Leads

__all__ = ["cards", "run", "table"]


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    with opened(args) as mg:
        if args.action == "count":
            count = mg.leads.count(args.workspace)
            terminal.show(Text(str(count)))  # no separators: scripts read this
            terminal.document({"workspace": args.workspace, "count": count})
        elif args.emails:
            found = [_find(mg.leads, args.workspace, email) for email in args.emails]
            terminal.show(cards(found))
            terminal.document(msgspec.to_builtins(found))
        else:
            page = mg.leads.page(args.workspace, limit=args.limit, cursor=args.cursor)
            terminal.show(table(page.leads))
            if page.next is not None:
                terminal.show(Text(f"more with --cursor {page.next}", style="dim"))
            terminal.document(msgspec.to_builtins(page))
    return Exit.DONE


def _find(leads: Leads, workspace: str, email: str) -> Lead:
    from mailgenius.address import validate_email

    # leads are kept by the normalised address; what is no valid address is looked up as it is, and not found
    check = validate_email(email, allow_quoted=True, allow_special_use=True)
    lead = leads.get(workspace, check.normalized or email)
    if lead is None:
        raise NotFound(f"there is no lead {email} in workspace {workspace}")
    return lead


def table(leads: Sequence[Lead]) -> Table:
    """A line for each lead."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("id", "email", "name", "company", "country", "status", "tags"):
        made.add_column(name, justify="right" if name == "id" else "left", overflow="fold")
    for lead in leads:
        name = " ".join(part for part in (lead.first_name, lead.last_name) if part)
        cells = [clip(text or "", 40) for text in (name, lead.company, lead.country, lead.status)]
        made.add_row(str(lead.id), Text(visible(lead.email)), *map(Text, cells), Text(clip(", ".join(lead.tags), 40)))
    return made


def cards(leads: Sequence[Lead]) -> Group:
    """All that is known about each lead, a line a field."""
    parts: list[RenderableType] = []
    for lead in leads:
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        made.add_column(style="bold")
        made.add_column(overflow="fold")
        for name in lead.__struct_fields__:
            value = getattr(lead, name)
            if value not in (None, [], {}):
                made.add_row(name, Text(visible(_plain(value))))
        parts += [made, Text()]
    return Group(*parts[:-1])


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return number(value) if isinstance(value, float) else str(value)
