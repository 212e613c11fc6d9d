"""Merging leads: what is asked, in batches, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .model import Lead
from .segment_check import MAX_VALUES, integer, many

PREFERENCES = ("keep", "newest")
#: by -> the SQL that makes two leads look like one person; see migration 0007
KEYS = {
    "email": "mailgenius.mailbox_key(l.email)",
    "phone": "mailgenius.phone_key(l.phone)",
    "name": "mailgenius.person_key(l.first_name, l.last_name, l.company)",
}
MAX_LEADS = 100  # shown of one group
_BATCH = 500  # leads of one transaction, unless a single group has more
_LAST = (1 << 63) - 1


class DuplicateGroup(msgspec.Struct, frozen=True):
    """Leads who look like one person."""

    key: str  # what they have in common
    count: int
    leads: list[Lead]  # the first 100, in the order of their numbers


class DuplicatePage(msgspec.Struct, frozen=True):
    """Some groups in the order of their keys. Give ``next`` as ``cursor``; None: there are no more."""

    groups: list[DuplicateGroup]
    next: str | None


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge did, or with ``dry_run`` would do."""

    leads: list[Lead]  # those that stay, as they are now
    merged: int  # leads that went into them
    missing: list[
        int
    ]  # numbers of which there is no lead (any more): left out, with their group if it was the one to keep
    sends: int  # sends that now belong to the lead that stays
    dropped: int  # queued sends deleted, because the person has one of the same campaign already
    activities: int  # activities that now belong to the lead that stays
    suppressed: int  # addresses that went on the suppression list


class Groups:
    """A batch: which leads stay, and which go into them."""

    def __init__(self, groups: Mapping[int, Sequence[int]]) -> None:
        self._groups = groups

    @property
    def ids(self) -> list[int]:
        """All of them, in the order in which everybody locks them."""
        return sorted({lead for keep, others in self._groups.items() for lead in (keep, *others)})

    def params(self, there: Iterable[int]) -> tuple[dict[str, Any], list[int]]:
        """For the statements of a merge, without leads that are not there; and who is not."""
        known = set(there)
        members = [
            (keep, lead, place)
            for keep, others in self._groups.items()
            if keep in known
            for place, lead in enumerate((keep, *others))
            if lead in known
        ]
        alone = {keep for keep in self._groups if sum(member[0] == keep for member in members) == 1}
        members = [member for member in members if member[0] not in alone]
        params = {
            "keeps": [keep for keep, _, _ in members],
            "members": [lead for _, lead, _ in members],
            "places": [place for _, _, place in members],
            "gone": [lead for _, lead, place in members if place],
        }
        return params, [lead for lead in self.ids if lead not in known]


def batches(groups: Any) -> Iterator[Groups]:
    """The groups, each whole in one batch. ``ConfigError`` if a lead is named twice."""
    checked = _checked(groups)
    batch: dict[int, Sequence[int]] = {}
    size = 0
    for keep, others in checked.items():
        if batch and size + 1 + len(others) > _BATCH:
            yield Groups(batch)
            batch, size = {}, 0
        batch[keep] = others
        size += 1 + len(others)
    if batch:
        yield Groups(batch)


def total(parts: Sequence[Merged]) -> Merged:
    return Merged(
        leads=[lead for part in parts for lead in part.leads],
        merged=sum(part.merged for part in parts),
        missing=sorted(lead for part in parts for lead in part.missing),
        sends=sum(part.sends for part in parts),
        dropped=sum(part.dropped for part in parts),
        activities=sum(part.activities for part in parts),
        suppressed=sum(part.suppressed for part in parts),
    )


def check_preference(prefer: str) -> str:
    if prefer not in PREFERENCES:
        raise ConfigError(f"prefer: {prefer!r} is none of {', '.join(PREFERENCES)}")
    return prefer


def check_key(by: str) -> str:
    if by not in KEYS:
        raise ConfigError(f"by: {by!r} is none of {', '.join(KEYS)}")
    return KEYS[by]


def number(path: str, value: Any) -> int:
    return integer(path, value, low=1, high=_LAST)


def _checked(groups: Any) -> dict[int, tuple[int, ...]]:
    if not isinstance(groups, Mapping):
        raise ConfigError(f"groups: expected a dict, got {type(groups).__name__}")
    if len(groups) > MAX_VALUES:
        raise ConfigError(f"groups: has {len(groups)} leads to keep; give at most {MAX_VALUES}")
    checked = {number("groups", keep): many(number, f"groups[{keep}]", others) for keep, others in groups.items()}
    seen = set(checked)
    for keep, others in checked.items():
        for lead in others:
            if lead in seen:
                raise ConfigError(f"groups[{keep}]: {lead} is named twice; a lead goes into one other lead")
            seen.add(lead)
    return checked
