"""``mailgenius validate-email``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mailgenius.cli.exits import Exit
from mailgenius.cli.text import clip

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from mailgenius.address import EmailCheck
    from mailgenius.cli.terminal import Terminal

__all__ = ["run", "table"]


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    from mailgenius.address import validate_email

    options = {"allow_quoted": args.allow_quoted, "allow_special_use": args.allow_special_use}
    checks = [validate_email(address, **options) for address in addresses(args.addresses)]
    terminal.show(table(checks))
    terminal.document([document(check) for check in checks])
    return Exit.DONE if all(checks) else Exit.DATA


def addresses(words: Sequence[str]) -> Iterator[str]:
    """The arguments; ``-`` stands for the lines of standard input."""
    for word in words:
        if word == "-":
            # bytes that are no UTF-8 must reach the validator, which says so
            for line in sys.stdin.buffer:
                yield line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        else:
            yield word


def document(check: EmailCheck) -> dict[str, Any]:
    made = check.as_dict()
    made["address"] = check.address.encode("utf-8", "backslashreplace").decode()  # JSON is UTF-8, the input need not be
    return made


def words(check: EmailCheck) -> str:
    from mailgenius._native import REASON_TEXTS, REASONS

    return f"{REASON_TEXTS[REASONS.index(check.reason)]} ({check.reason})"


def table(checks: Iterable[EmailCheck]) -> Table:
    """A line for each address: the verdict, the normalised form or the reason, and what else is known."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for column in range(4):
        made.add_column(overflow="fold", no_wrap=column == 0)
    for check in checks:
        remarks = [name for name in ("role", "disposable", "free") if getattr(check, name)]
        if check.suggestion:
            remarks.append(f"did you mean {check.suggestion}?")
        made.add_row(
            Text("valid", "green") if check.valid else Text("invalid", "red"),
            Text(clip(check.address, 80)),
            Text(clip(check.normalized or "", 80)) if check.valid else Text(words(check), "red"),
            Text(", ".join(remarks), "yellow"),
        )
    return made
