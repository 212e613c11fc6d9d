"""What the grammars of several commands have in common."""

from __future__ import annotations

import argparse
from typing import Any

from mailgenius.cli.exits import EPILOG

__all__ = ["add_command", "add_output", "amount", "positive", "seconds"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number


def amount(text: str) -> int:
    """``512M`` -> 512,000,000 bytes, ``1GiB`` -> 2**30."""
    lower = text.strip().lower().removesuffix("b")
    digits = lower.rstrip("kmgi")
    try:
        return int(float(digits) * _UNITS[lower[len(digits) :]])
    except (ValueError, KeyError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 800M, 1GiB or 0") from None


def add_command(commands: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=description,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return made


def add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document on standard output")
