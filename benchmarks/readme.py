"""The table in README.md: some rows of docs/benchmarks.md, word for word, so that a number stands in one place only."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["rows", "with_rows", "write"]

START, END = "<!-- figures: made by `make bench-import` -->\n", "<!-- /figures -->\n"
LINK = "[All figures](docs/benchmarks.md), with the machine and every run.\n"
SECTIONS = ("What the library promises", "Imports", "Leads")


def rows(page: str) -> list[str]:
    """The target tables of the chosen sections of docs/benchmarks.md as one."""
    found: list[str] = []
    for title in SECTIONS:
        section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^#|\Z)", page, re.M | re.S)
        table = re.findall(r"^\|.*\|$", section[1] if section else "", re.M)
        found += table if not found else table[2:]  # one head is enough
    return found


def with_rows(readme: str, page: str) -> str:
    """``readme`` with the part between the marks made anew."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        return readme
    return "\n".join([before + start, *rows(page), "", LINK, end + after])


def write(readme: Path, page: Path) -> None:
    readme.write_text(with_rows(readme.read_text("utf-8"), page.read_text("utf-8")), "utf-8")
