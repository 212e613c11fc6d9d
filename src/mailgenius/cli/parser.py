"""The grammar of the command line, and nothing else: no work is done and nothing heavy is imported here."""

from __future__ import annotations

import argparse
from typing import Any

from mailgenius.cli.exits import EPILOG
from mailgenius.cli.grammar import add_command, add_output, positive
from mailgenius.cli.queue_parser import add_queue, add_work

__all__ = ["build_parser", "import_options"]

_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def column(text: str) -> tuple[str, str]:
    """``E-mail=email`` -> ("E-mail", "email"). The last ``=`` divides: column names may hold one, targets never do."""
    name, equals, target = text.rpartition("=")
    if not equals or not name.strip() or not target.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FIELD, such as 'E-mail=email' or 'Notes=ignore'")
    return name.strip(), target.strip()


def delimiter(text: str) -> str:
    """One character, or a name for it: shells make a tab hard to type."""
    return _DELIMITERS.get(text.lower(), text)


def quote(text: str) -> str:
    return "" if text.lower() == "none" else text


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailgenius",
        description="Leads for e-mail marketing: import, look at, validate; queues of jobs and their workers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and the instruction set in use")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _import(commands)
    _leads(commands)
    _validate(commands)
    _migrate(commands)
    add_work(commands)
    add_queue(commands)
    return parser


def _server(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("database")
    group.add_argument(
        "--database-url",
        metavar="URL",
        help="PostgreSQL to use (default: MAILGENIUS_DATABASE_URL; with neither, an embedded server)",
    )
    group.add_argument(
        "--home",
        metavar="DIR",
        help="data folder of the embedded server (default: MAILGENIUS_HOME, else the user's data folder)",
    )


def _import(commands: Any) -> None:
    command = add_command(
        commands,
        "import",
        "import leads from a CSV file",
        "Reads FILE, validates and deduplicates its rows, and loads them into a workspace. Every row ends as\n"
        "inserted, updated, existing, duplicate, suppressed or rejected, and the summary says how many of each.",
    )
    command.add_argument("file", nargs="?", metavar="FILE", help="CSV file, also .gz or .zst; - reads standard input")
    command.add_argument("-w", "--workspace", metavar="SLUG", help="workspace that the leads belong to")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--preview", action="store_true", help="show how the first rows would be read, and stop")
    what.add_argument("--dry-run", action="store_true", help="read, validate and compare everything; write nothing")
    what.add_argument("--resume", type=positive, metavar="ID", help="go on with an import that stopped")
    what.add_argument("--undo", type=positive, metavar="ID", help="take back what an import inserted and updated")

    reading = command.add_argument_group("how the file is read")
    reading.add_argument(
        "--column",
        type=column,
        action="append",
        metavar="NAME=FIELD",
        help="put this column into this field, an attribute (attribute:NAME) or nowhere (ignore); may be repeated",
    )
    reading.add_argument("--encoding", help="such as utf-8, utf-16, cp1252 (default: detected)")
    reading.add_argument(
        "--delimiter", type=delimiter, help="one character, or tab (default: detected among , ; tab |)"
    )
    reading.add_argument("--quote", type=quote, help='one character, or none (default: ")')
    header = reading.add_mutually_exclusive_group()
    header.add_argument("--header", dest="has_header", action="store_true", default=None, help="the first row is names")
    header.add_argument("--no-header", dest="has_header", action="store_false", help="the first row is a lead")
    reading.add_argument(
        "--dates", choices=("auto", "iso", "dmy", "mdy"), default="auto", help="order of dates (default: %(default)s)"
    )
    reading.add_argument("--pad-short-rows", action="store_true", help="fill rows that have too few fields")
    reading.add_argument("--allow-quoted", action="store_true", help='accept addresses such as "a b"@example.com')
    reading.add_argument("--allow-special-use", action="store_true", help="accept .test, .local, .invalid and the like")

    loading = command.add_argument_group("what happens to the leads")
    loading.add_argument(
        "--on-existing",
        choices=("skip", "update", "fail"),
        default="skip",
        help="for a lead that is already there (default: %(default)s)",
    )
    loading.add_argument(
        "--update-columns", type=names, metavar="A,B", help="fields that --on-existing update may change (default: all)"
    )
    loading.add_argument("--tag", dest="tags", action="append", default=[], metavar="TAG", help="added to every lead")
    loading.add_argument("--atomic", action="store_true", help="one transaction: all of the file or nothing")
    loading.add_argument(
        "--no-undo", dest="keep_undo", action="store_false", help="do not keep what an update overwrites"
    )

    output = command.add_argument_group("output")
    output.add_argument("--rejects", metavar="FILE", help="write rejected rows here, with line, column and reason")
    output.add_argument("--duplicates", metavar="FILE", help="write the lines of duplicates here")
    output.add_argument(
        "--rows", type=positive, default=10, help="how many rows --preview shows (default: %(default)s)"
    )
    output.add_argument("--strict", action="store_true", help="exit with 3 if any row was rejected")
    output.add_argument("--quiet", action="store_true", help="no progress, no summary; errors only")
    output.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="progress on standard error (default: when it is a terminal)",
    )
    add_output(output)  # type: ignore[arg-type]
    _server(command)


def _leads(commands: Any) -> None:
    command = add_command(commands, "leads", "count and show leads", "Looks at the leads of a workspace.")
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    count = add_command(actions, "count", "how many leads a workspace has", "Prints the number of leads.")
    show = add_command(actions, "show", "show leads", "Shows the named leads, or those that came first.")
    show.add_argument("emails", nargs="*", metavar="EMAIL", help="addresses to look up")
    show.add_argument("--limit", type=positive, default=20, help="how many (default: %(default)s)")
    show.add_argument("--cursor", metavar="CURSOR", help="go on from another page: its next or previous")
    for action in (count, show):
        action.add_argument("-w", "--workspace", metavar="SLUG", required=True)
        add_output(action)
        _server(action)


def _validate(commands: Any) -> None:
    command = add_command(
        commands,
        "validate-email",
        "say whether addresses can be sent to",
        "Checks the syntax of addresses (RFC 5321, RFC 6531, IDNA2008). Nothing is looked up on the network.",
    )
    command.add_argument(
        "addresses", nargs="+", metavar="ADDRESS", help="- reads one address a line from standard input"
    )
    command.add_argument("--allow-quoted", action="store_true", help='accept addresses such as "a b"@example.com')
    command.add_argument("--allow-special-use", action="store_true", help="accept .test, .local, .invalid and the like")
    add_output(command)


def _migrate(commands: Any) -> None:
    command = add_command(
        commands,
        "migrate",
        "bring the database schema up to date",
        "Applies the migrations that are missing. Safe to run twice, and by two processes at once.",
    )
    add_output(command)
    _server(command)


def import_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``Importer.run`` that the command line gives."""
    return {
        **reading_options(args),
        "workspace": args.workspace,
        "on_existing": args.on_existing,
        "update_columns": args.update_columns,
        "tags": args.tags,
        "rejects": args.rejects,
        "duplicates": args.duplicates,
        "atomic": args.atomic,
        "dry_run": args.dry_run,
        "keep_undo": args.keep_undo,
    }


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those that say how the file is read, which ``Importer.preview`` takes too."""
    return {
        "columns": dict(args.column) if args.column else None,
        "dates": args.dates,
        "encoding": args.encoding,
        "delimiter": args.delimiter,
        "quote": args.quote,
        "has_header": args.has_header,
        "pad_short_rows": args.pad_short_rows,
        "allow_quoted": args.allow_quoted,
        "allow_special_use": args.allow_special_use,
    }
