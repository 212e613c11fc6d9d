"""``main``: parse, run the command, turn whatever ends it into an exit code and one clear paragraph."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mailgenius.cli.exits import Exit, Terminated, exit_for
from mailgenius.cli.parser import build_parser
from mailgenius.cli.terminal import Terminal
from mailgenius.errors import MailgeniusError

if TYPE_CHECKING:
    import argparse

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (see ``mailgenius --help``)."""
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as leave:  # argparse has said why
        return int(leave.code or 0)
    if not os.environ.get("MAILGENIUS_DEBUG"):  # what the pool logs while it reconnects is no news to the user
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
    terminal = Terminal(json=getattr(args, "json", False), quiet=getattr(args, "quiet", False))
    try:
        if args.version:
            return _version()
        if args.command is None:
            parser.print_help()
            return Exit.USAGE
        with _orderly_end():
            code = _run(args, terminal)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our output is gone (`| head`): nothing to say, and Python must not complain at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("MAILGENIUS_DEBUG"):
            raise
        return _failed(error, args, terminal)
    return code


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Makes an exception of SIGTERM meanwhile, where Python lets us (signals are the main thread's)."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: argparse.Namespace, terminal: Terminal) -> int:
    # each command imports what it needs: `validate-email` has no use for a database driver
    if args.command == "import":
        from mailgenius.cli import importing

        return importing.run(args, terminal)
    if args.command == "leads":
        from mailgenius.cli import leads

        return leads.run(args, terminal)
    if args.command == "validate-email":
        from mailgenius.cli import validating

        return validating.run(args, terminal)
    if args.command == "work":
        from mailgenius.cli import working

        return working.run(args)
    if args.command == "queue":
        from mailgenius.cli import queues

        return queues.run(args, terminal)
    from mailgenius.cli import migrating

    return migrating.run(args, terminal)


def _version() -> int:
    from importlib.metadata import version

    from mailgenius import _native

    print(f"mailgenius {version('mailgenius')} ({_native.isa()}; can run {', '.join(_native.isas())})")
    return Exit.DONE


def _failed(error: BaseException, args: argparse.Namespace, terminal: Terminal) -> int:
    kind, import_id = type(error).__name__, getattr(error, "import_id", None)
    if isinstance(error, KeyboardInterrupt):
        message = "told to end" if isinstance(error, Terminated) else "interrupted"
    elif isinstance(error, MailgeniusError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = f"out of memory ({error})" if str(error) else "out of memory"
    elif isinstance(error, OSError):
        message = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    else:
        message = f"{kind}: {error}. This should not happen: please report it, with what MAILGENIUS_DEBUG=1 prints"
    if args.command == "import" and import_id is not None:
        from mailgenius.cli.importing import resume_command

        message += f"\nGo on with: {resume_command(args, import_id)}"
    terminal.error(kind, message, import_id=import_id)
    return exit_for(error)
