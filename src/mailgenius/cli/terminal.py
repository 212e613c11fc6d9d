"""Where a command writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from mailgenius.cli.progress import ProgressBars, ProgressLines
from mailgenius.cli.text import visible

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

__all__ = ["Terminal"]


class Terminal:
    """Two consoles. Off a terminal lines are as long as they need to be (COLUMNS wraps them), and without colour."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def show(self, what: RenderableType) -> None:
        """A result for people; nothing with --json or --quiet."""
        if self.json or self.quiet:
            return
        if self.out.is_terminal:
            self.out.print(what)
            return
        with self.out.capture() as text:
            self.out.print(what)
        # tables fill their last column with spaces, which a file or a pipe has no use for
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))

    def document(self, value: Any) -> None:
        """A result for machines: one JSON document."""
        if self.json:
            text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
            sys.stdout.write(text + "\n")

    def say(self, text: str, style: str = "") -> None:
        """Something about the work, on standard error."""
        self.err.print(Text(text, style=style))

    def error(self, kind: str, message: str, **more: Any) -> None:
        """An error: one clear paragraph, and a JSON document where that was asked for."""
        text = "\n".join(visible(line) for line in message.splitlines())
        self.err.print(Text.assemble(("mailgenius: ", "bold red"), text))
        self.document({"error": {"kind": kind, "message": message, **{k: v for k, v in more.items() if v is not None}}})

    def progress(self, args: argparse.Namespace) -> ProgressBars | ProgressLines | None:
        """The progress display that the options and the place call for."""
        if args.progress is False or (args.quiet and not args.progress):
            return None
        if self.err.is_terminal:
            return ProgressBars(self.err)
        return ProgressLines(self.err) if args.progress else None


def _console(file: Any) -> Console:
    wide = None if file.isatty() or os.environ.get("COLUMNS") else 250
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False, width=wide)
