"""Words and numbers for people: values from files made safe to print, counts, times, rates."""

from __future__ import annotations

import unicodedata

__all__ = ["clip", "duration", "number", "percent", "size", "visible"]


def visible(value: str) -> str:
    """``value`` with control, format and other invisible characters written as escapes.

    A value from a file must not move the cursor, colour the terminal or turn the direction of the text around it.
    """
    if value.isascii() and value.isprintable():
        return value
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in value)


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def clip(value: str, width: int = 60) -> str:
    """At most ``width`` characters, made visible; what is missing is marked."""
    short = visible(value[: width + 1])
    return short if len(short) <= width else short[: width - 1] + "…"


def number(value: int | float) -> str:
    return f"{value:,.0f}"


def percent(part: int, whole: int) -> str:
    """Never says 0.0 % or 100.0 % of something that is not."""
    if not whole:
        return ""
    share = 100 * part / whole
    if part and share < 0.1:
        return "<0.1 %"
    if part != whole and share > 99.9:
        return ">99.9 %"
    return f"{share:.1f} %"


def size(count: int) -> str:
    """Bytes in decimal units, as disks and networks count them."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
