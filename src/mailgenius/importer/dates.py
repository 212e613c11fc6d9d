"""Is 03/04/2024 in March or in April? Pure: values of a column go in, the order of day and month comes out.

One value with a number above 12 settles it; where none does, the language of the column's name; else the day is taken
to come first, as in most of the world, and a warning says so. ISO 8601 dates (2024-04-03) are read in every order.
"""

import re
from collections.abc import Sequence
from typing import Final

from mailgenius.importer.synonyms import normalized

__all__ = ["detect"]

_ISO = re.compile(r"\s*\d{4}[-/]?\d{2}[-/]?\d{2}(?!\d)")
_NUMBERS = re.compile(r"\s*(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?!\d)")
_SPOKEN: Final = (  # how a column of dates begins in Portuguese or Spanish, after `normalized`
    "data", "fecha", "criado", "criacao", "cadastr", "inscri", "registrado", "creado", "alta", "nascimento", "dia",
)  # fmt: skip
_SAID: Final = {"dmy": "day/month/year", "mdy": "month/day/year"}
_ENGLISH: Final = ("datab", "datac", "dataf", "datal", "dataset")  # database, data center: not Portuguese


def detect(values: Sequence[str], name: str = "") -> tuple[str, list[str]]:
    """("iso" | "dmy" | "mdy", warnings) for a column.

    values: some of its values (a thousand are plenty; empty ones don't count). name: what the column is called.
    "iso" means that no value has any other form.
    """
    first = second = ambiguous = iso = 0
    example = clash = ""
    for value in values:
        found = _NUMBERS.match(value)
        if found is None:
            iso += _ISO.match(value) is not None
            continue
        a, b = int(found[1]), int(found[3])
        if a > 12 >= b:
            first += 1
        elif b > 12 >= a:
            second += 1
            clash = clash or value.strip()
        elif a <= 12:
            ambiguous += 1
            example = example or value.strip()
    label = f" in {name!r}" if name else ""
    if first and second:
        order = "dmy" if first >= second else "mdy"
        minority = min(first, second)
        return order, [
            f"dates{label} are written both ways ({first:,} with the day first, {second:,} with the month first, "
            f"such as {clash!r}); read as {_SAID[order]}, so {minority:,} or more rows are rejected"
        ]
    if first:
        return "dmy", []
    if second:
        return "mdy", []
    if _is_spoken(name):
        return ("iso" if iso and not ambiguous else "dmy"), []
    if not ambiguous:
        return "iso", []
    return "dmy", [
        f"dates{label} such as {example!r} can be read in two ways; read as {_SAID['dmy']}. "
        'Give dates="mdy" if the month comes first'
    ]


def _is_spoken(name: str) -> bool:
    form = normalized(name)
    return form.startswith(_SPOKEN) and not form.startswith(_ENGLISH)
