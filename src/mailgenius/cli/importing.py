"""``mailgenius import``: run, preview, resume, undo."""

from __future__ import annotations

import contextlib
import shlex
import sys
from typing import TYPE_CHECKING, Any, cast

import msgspec

from mailgenius.cli import render
from mailgenius.cli.exits import Exit
from mailgenius.cli.opening import opened, reader
from mailgenius.cli.parser import import_options, reading_options
from mailgenius.errors import ConfigError, MailgeniusError

if TYPE_CHECKING:
    import argparse

    from mailgenius.app import Mailgenius
    from mailgenius.cli.terminal import Terminal
    from mailgenius.importer.report import ImportReport

__all__ = ["document", "resume_command", "run"]


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.file is None and args.resume is None and args.undo is None:
        raise ConfigError("name the FILE to import (- for standard input), or an import with --resume ID or --undo ID")
    if args.workspace is None and args.file is not None and args.resume is None and not args.preview:
        raise ConfigError("say which workspace the leads belong to: --workspace SLUG")
    source = sys.stdin.buffer if args.file == "-" else args.file
    if args.preview:
        preview = reader().preview(source, rows=args.rows, **reading_options(args))
        terminal.show(render.preview(preview))
        terminal.document(preview)
        return Exit.DATA if args.strict and any(row.outcome == "rejected" for row in preview.rows) else Exit.DONE
    with opened(args) as mg:
        if args.undo is not None:
            undone = mg.importer.undo(args.undo, workspace=args.workspace)
            terminal.show(render.undone(undone))
            terminal.document(undone)
            return Exit.DONE
        display = terminal.progress(args)
        try:
            with display or contextlib.nullcontext():
                if args.resume is not None:
                    result = mg.importer.resume(
                        args.resume, source=source, workspace=args.workspace, on_progress=display
                    )
                else:
                    result = mg.importer.run(source, on_progress=display, **import_options(args))
        except KeyboardInterrupt as interrupt:
            stopped = _stopped(mg, args, interrupt)
            if stopped is not None:
                interrupt.import_id = stopped  # type: ignore[attr-defined]
            raise
    terminal.show(render.report(result))
    terminal.document(document(result))
    return Exit.DATA if args.strict and result.rejected else Exit.DONE


def _stopped(mg: Mailgenius, args: argparse.Namespace, interrupt: KeyboardInterrupt) -> int | None:
    """The import that was interrupted, if it had begun to load: only then is there something to go on with.

    An exception of ours would carry the number; this one is Python's, so the ledger is asked for the newest that it ended.
    """
    if args.resume is not None or args.dry_run:
        return cast("int | None", args.resume)
    with contextlib.suppress(MailgeniusError):
        for entry in mg.importer.imports(args.workspace):
            if entry.state == "failed" and entry.error == type(interrupt).__name__:
                return entry.import_id
    return None


def document(result: ImportReport) -> dict[str, Any]:
    """The report as JSON shows it: its fields, with each problem in words and the rate."""
    made: dict[str, Any] = msgspec.to_builtins(result)
    for problem, shown in zip(result.problems, made["problems"], strict=True):
        shown["message"] = problem.message
    made["rows_per_second"] = round(result.rows_per_second)
    return made


def resume_command(args: argparse.Namespace, import_id: int) -> str:
    """The command that goes on with a stopped import. A database URL may hold a password, so it is not repeated."""
    words = ["mailgenius", "import"]
    if args.file is not None:
        words.append(args.file)
    words += ["--resume", str(import_id)]
    if args.home is not None:
        words += ["--home", args.home]
    return shlex.join(words) + (" --database-url (the same URL)" if args.database_url is not None else "")
