"""What is looked for when a person types a few letters. Pure."""

from __future__ import annotations

import unicodedata
from typing import Any

from .segment_check import text

_LAST = "\U0010ffff"  # sorts behind whatever goes on after a prefix; no address holds it


def looks_like_address(given: str) -> bool:
    return "@" in given.strip()[1:] and not any(letter.isspace() for letter in given.strip())


def search_params(given: str) -> dict[str, Any]:
    """The range of addresses that begin so, and the pattern for names."""
    from mailgenius.address import validate_email  # imported late: it loads numpy

    looked_for = text("text", given).strip()
    whole = validate_email(looked_for, allow_quoted=True, allow_special_use=True).normalized  # an IDN domain, say
    prefix = whole or unicodedata.normalize("NFC", looked_for.lower())
    escaped = looked_for.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return {"prefix": prefix, "end": prefix + _LAST, "text": looked_for, "pattern": f"%{escaped}%"}
