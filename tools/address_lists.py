"""Keeps the tables of public mailbox providers and role names in order, and writes lists for ``load_lists``.

    python -m tools.address_lists                 says what is out of order in src/mailgenius/address/tables.py
    python -m tools.address_lists --write         sorts it, drops repeats, and dates it: run it after going through the list
    python -m tools.address_lists --snapshot DIR  writes disposable.txt, free.txt and roles.txt with their sources

The snapshot is what a cron job puts where services call ``mailgenius.address.load_lists(DIR)``: upgrade the
``disposable-email-domains`` package in some environment, write a snapshot there, copy it. No service needs a new release.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import textwrap
from pathlib import Path

from mailgenius._native import REASONS
from mailgenius.address import IdnResolver, current_lists

TABLES = Path(__file__).resolve().parents[1] / "src" / "mailgenius" / "address" / "tables.py"
BLOCK = re.compile(r'^(_FREE|_ROLES) = """\n(.*?)^"""$', re.M | re.S)
DATE = re.compile(r'^DATE = "(.*)"$', re.M)


def wrong_words(name: str, words: list[str]) -> list[str]:
    """Complaints about entries that are no domains or local parts, or are not in normal form."""
    resolver = IdnResolver()
    found = []
    for word in words:
        address = f"x@{word}" if name == "_FREE" else f"{word}@x.example"
        result = resolver.resolve(address.encode())
        if isinstance(result, int):
            found.append(f"{name}: {word} cannot be part of an address ({REASONS[result]})")
        elif result.decode() != address:
            found.append(f"{name}: {word} is not in normal form, which is {result.decode()}")
    return found


def in_order(text: str) -> str:
    """The file with its tables sorted, without repeats, in lines of 120."""

    def block(match: re.Match[str]) -> str:
        words = textwrap.fill(
            " ".join(sorted(set(match[2].split()))),
            width=120,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        return f'{match[1]} = """\n{words}\n"""'

    return BLOCK.sub(block, text)


def complaints(text: str) -> list[str]:
    """What ``--write`` would mend, and what only a person can."""
    blocks = BLOCK.findall(text)
    found = [wrong for name, words in blocks for wrong in wrong_words(name, words.split())]
    if len(blocks) != 2 or not DATE.search(text):
        found.append("tables.py has lost _FREE, _ROLES or DATE")
    if in_order(text) != text:
        found.append("tables.py is not sorted: run python -m tools.address_lists --write")
    return found


def snapshot(folder: Path) -> None:
    """The lists in use as files for load_lists."""
    lists = current_lists()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in (("disposable", lists.disposable), ("free", lists.free), ("roles", lists.roles)):
        head = f"# {name}: {lists.sources[name]}; written {today}\n"
        (folder / f"{name}.txt").write_text(head + "".join(f"{entry}\n" for entry in sorted(entries)), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--snapshot", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    if options.snapshot:
        snapshot(options.snapshot)
        return 0
    text = TABLES.read_text("utf-8")
    if options.write:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        text = DATE.sub(f'DATE = "{today}"', in_order(text))
        TABLES.write_text(text, "utf-8")
    found = complaints(text)
    print("\n".join(found) if found else "tables.py is in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
