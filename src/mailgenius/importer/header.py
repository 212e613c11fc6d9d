"""Which column is which lead field? Pure: a header and a few rows go in, a ``HeaderPlan`` comes out.

What the caller says wins. Then names are compared (``synonyms``), and the values have a say: a column called "Status"
that holds words no lead status knows, or a "Score" without numbers, is kept as an attribute rather than used to reject
every row. What is not a lead field becomes an attribute under its own name; nothing is dropped unless asked.

Column names never reach SQL: they are keys of a JSON document, cleaned of control characters and limited in length.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailgenius.errors import ConfigError, SourceError
from mailgenius.importer.synonyms import FIELDS, FULL_NAMES, GIVEN_OR_FULL, field_of, normalized

__all__ = ["ATTRIBUTE", "IGNORE", "HeaderPlan", "looks_like_header", "match"]

ATTRIBUTE: Final = -1  # mg.h: MG_TARGET_ATTRIBUTE
IGNORE: Final = -2  # mg.h: MG_TARGET_IGNORE
NAME_CHARS: Final = 200  # of an attribute
_SHOWN: Final = 30  # columns that a message lists

_OURS: Final = ("mg_line", "mg_column", "mg_reason")  # what a rejects file of ours begins with
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?!\d)|\d{8}(?!\d)|\d{1,2}([/.-])\d{1,2}\1\d{4}(?!\d)")
_INTEGER = re.compile(r"[-+]?\d+\Z")
_STATUSES: Final = frozenset({"active", "unsubscribed", "bounced", "complained", "pending"})


@dataclass(slots=True)
class HeaderPlan:
    """What the columns are.

    header: a clean, unique name for each column. targets: for each column the number of a lead field, ATTRIBUTE or
    IGNORE. names: for each column the name it would have as an attribute. mapping: header name -> "email",
    "attribute:<name>" or "ignore". warnings: what the caller should look at, in words.
    """

    header: list[str]
    targets: list[int]
    names: list[str]
    mapping: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def looks_like_header(row: Sequence[str]) -> bool:
    """Whether a first row holds names of columns: it does unless there is an e-mail address in it."""
    return not any(_EMAIL.fullmatch(_bare(value)) for value in row)


def match(
    header: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    has_header: bool = True,
    rows: Sequence[Sequence[str]] = (),
) -> HeaderPlan:
    """Decides what each column is.

    header: the first record, or made-up names (column_1, …) where has_header is False; those are not compared.
    columns: the caller's word: header name -> a lead field ("email", "first_name", …), "attribute" or "attributes"
    (kept under its name), "attribute:<name>" (under another) or "ignore". A header name is found as it stands, or else
    without regard to case, accents and punctuation. rows: the first rows below the header.

    Raises ConfigError for targets that don't exist or two columns for one field, SourceError for a column that isn't
    there, and when no column holds e-mail addresses.
    """
    if not header:
        raise SourceError(
            "the first record, which should name the columns, cannot be read: it opens a quote that is never closed, or "
            "has more columns or longer names than allowed"
        )
    warnings: list[str] = []
    names = _clean(header, warnings)
    targets: list[int | None] = [None] * len(names)
    labels = list(names)  # attribute names
    _explicit(header, names, columns or {}, targets, labels)
    if tuple(names[:3]) == _OURS:  # a corrected rejects file
        targets[:3] = [IGNORE if target is None else target for target in targets[:3]]
    if has_header:
        _by_name(header, names, rows, targets, warnings)
    if FIELDS.index("email") not in targets:
        _by_value(names, rows, targets, warnings, has_header)
    plan = [ATTRIBUTE if target is None else target for target in targets]
    _unique_labels(plan, labels, [bool(columns) and labels[i] != names[i] for i in range(len(names))])
    mapping = {
        name: FIELDS[target] if target >= 0 else "ignore" if target == IGNORE else f"attribute:{label}"
        for name, target, label in zip(names, plan, labels, strict=True)
    }
    return HeaderPlan(names, plan, labels, mapping, warnings)


def _clean(header: Sequence[str], warnings: list[str]) -> list[str]:
    """Names one can show, store and tell apart."""
    names: list[str] = []
    taken = {_readable(name) for name in header}
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for number, raw in enumerate(header, 1):
        name = base = _readable(raw) or f"column_{number}"
        count = counts.get(base, 1)
        while name in seen or (count > 1 and name in taken):
            count += 1
            name = f"{base[: NAME_CHARS - 12]}_{count}"
        counts[base] = count
        if count > 1:
            warnings.append(f"column {number} is called {base!r} like one before it; it is taken as {name!r}")
        seen.add(name)
        names.append(name)
    return names


def _readable(name: str) -> str:
    return " ".join(_UNSEEN.sub(" ", name).split())[:NAME_CHARS].rstrip()


def _bare(value: str) -> str:
    return value.strip(" \t\"'")


def _shown(names: Sequence[str]) -> str:
    more = f", … ({len(names) - _SHOWN:,} more)" if len(names) > _SHOWN else ""
    return ", ".join(repr(name if len(name) <= 60 else name[:59] + "…") for name in names[:_SHOWN]) + more


def _explicit(
    header: Sequence[str],
    names: Sequence[str],
    columns: Mapping[str, str],
    targets: list[int | None],
    labels: list[str],
) -> None:
    taken: dict[str, str] = {}
    for wanted, meaning in columns.items():
        column = _find(wanted, header, names)
        if targets[column] is not None:
            raise ConfigError(f"columns: {wanted!r} and another name both mean the column {names[column]!r}")
        target, label = _meaning(wanted, meaning)
        targets[column] = target
        if target == ATTRIBUTE:
            labels[column] = label or names[column]
        if target == IGNORE:
            continue
        key = FIELDS[target] if target >= 0 else f"attribute:{labels[column]}"
        if key in taken:
            raise ConfigError(f"columns: {taken[key]!r} and {wanted!r} are both mapped to {key!r}; map one of them")
        taken[key] = wanted


def _find(wanted: str, header: Sequence[str], names: Sequence[str]) -> int:
    for place in (names, header):  # names first: they are unique
        if wanted in place:
            return list(place).index(wanted)
    like = [i for i, name in enumerate(names) if normalized(name) == normalized(wanted) != ""]
    if len(like) == 1:
        return like[0]
    if like:
        raise SourceError(
            f"columns: {wanted!r} may mean {_shown([names[i] for i in like])}; write it as it stands there"
        )
    by_form = {normalized(name): name for name in names}
    close = difflib.get_close_matches(normalized(wanted), list(by_form), 1, 0.6) if len(names) <= 1000 else []
    hint = f"; did you mean {by_form[close[0]]!r}?" if close else ""
    raise SourceError(f"columns: there is no column {wanted!r}; the columns are {_shown(names)}{hint}")


def _meaning(wanted: str, meaning: str) -> tuple[int, str | None]:
    """(target, attribute name)"""
    if meaning in ("attribute", "attributes"):
        return ATTRIBUTE, None
    if meaning in FIELDS:
        return FIELDS.index(meaning), None
    if meaning == "ignore":
        return IGNORE, None
    if isinstance(meaning, str) and meaning.startswith("attribute:"):
        label = meaning.removeprefix("attribute:").strip()
        if not label or len(label) > NAME_CHARS or _UNSEEN.search(label):
            raise ConfigError(
                f"columns: the attribute name for {wanted!r} must have 1 to {NAME_CHARS} visible characters"
            )
        return ATTRIBUTE, label
    fields = ", ".join(name for name in FIELDS if name != "attributes")
    close = difflib.get_close_matches(str(meaning), FIELDS, 1, 0.6)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(
        f"columns: {wanted!r} cannot be mapped to {meaning!r}{hint}; it can be {fields}, attribute:<name> or ignore"
    )


def _by_name(
    header: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    targets: list[int | None],
    warnings: list[str],
) -> None:
    holders = {target: i for i, target in enumerate(targets) if target is not None and target >= 0}

    def take(column: int, name: str) -> None:
        target = FIELDS.index(name)
        if target in holders:
            warnings.append(
                f"{names[column]!r} also looks like {name}, which {names[holders[target]]!r} is; kept as an attribute"
            )
            return
        doubt = _doubt(name, _values(rows, column))
        if doubt:
            warnings.append(f"{names[column]!r} looks like {name}, but {doubt}; kept as an attribute")
            return
        targets[column] = target
        holders[target] = column

    free = [i for i, target in enumerate(targets) if target is None]
    for column in free:
        if name := field_of(header[column]):
            take(column, name)
    first, last = FIELDS.index("first_name"), FIELDS.index("last_name")
    for column in free:
        if targets[column] is not None or first in holders:
            continue
        form = normalized(header[column])
        if form in GIVEN_OR_FULL or (form in FULL_NAMES and last not in holders):
            take(column, "first_name")


def _doubt(name: str, values: list[str]) -> str | None:
    """Why most values cannot be those of this field, where it would reject their rows."""
    if not values:
        return None
    if name == "status":
        fits, what = sum(value.lower() in _STATUSES for value in values), "are not a lead status"
    elif name == "score":
        fits, what = sum(_INTEGER.match(value) is not None for value in values), "are not whole numbers"
    elif name == "created_at":
        fits, what = sum(_DATE.match(value) is not None for value in values), "are not dates that can be read"
    else:
        return None
    if 2 * fits >= len(values):
        return None
    return f"values such as {values[0][:40]!r} {what}"


def _values(rows: Sequence[Sequence[str]], column: int) -> list[str]:
    return [value for row in rows if column < len(row) and (value := row[column].strip(" \t"))]


def _by_value(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    targets: list[int | None],
    warnings: list[str],
    has_header: bool,
) -> None:
    """No name says e-mail: is there one column, and only one, that holds addresses?"""
    found = []
    for column, target in enumerate(targets):
        if target is not None:
            continue
        values = _values(rows, column)
        if values and 2 * sum(_EMAIL.fullmatch(_bare(value)) is not None for value in values) >= len(values):
            found.append(column)
    if len(found) == 1:
        targets[found[0]] = FIELDS.index("email")
        why = "no column is called e-mail" if has_header else "there is no header"
        warnings.append(f"{why}; {names[found[0]]!r} is taken for it, since it holds addresses")
        return
    if found:
        candidates = _shown([names[i] for i in found])
        raise SourceError(
            f"several columns hold e-mail addresses: {candidates}; say which, such as columns="
            f'{{{names[found[0]]!r}: "email"}}'
        )
    raise SourceError(
        f"there is no e-mail column; the columns are {_shown(names)}. Say which it is, such as columns="
        f'{{{names[0]!r}: "email"}}'
    )


def _unique_labels(targets: Sequence[int], labels: list[str], chosen: Sequence[bool]) -> None:
    """Two attributes never share a name; the one that the caller chose keeps it."""
    taken = {label for label, target, mine in zip(labels, targets, chosen, strict=True) if mine and target == ATTRIBUTE}
    for column, target in enumerate(targets):
        if target != ATTRIBUTE or chosen[column]:
            continue
        base, count = labels[column], 1
        while labels[column] in taken:
            count += 1
            labels[column] = f"{base[: NAME_CHARS - 12]}_{count}"
        taken.add(labels[column])
