"""Which addresses belong to functions, to throw-away services, to public mailbox providers.

Disposable domains come from the ``disposable-email-domains`` package, so a newer list is one ``pip install -U`` away;
providers and roles from ``tables.py``. ``use_lists`` (or ``load_lists`` for files) replaces any of them at any time,
without a release of ours.
"""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from typing import TYPE_CHECKING

from mailgenius._native import ALLOW_SPECIAL_USE, REASONS
from mailgenius.address import tables
from mailgenius.address.idn import resolver

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DOMAINS = 65_536  # verdicts remembered
_IDNA = REASONS.index("email.domain_idna")


class Lists:
    """The three lists in use; never changed, only replaced. ``sources`` says where each comes from."""

    def __init__(
        self, disposable: frozenset[str], free: frozenset[str], roles: frozenset[str], sources: dict[str, str]
    ) -> None:
        self.disposable = disposable
        self.free = free
        self.roles = roles
        self.sources = sources
        self.disposable_domain = lru_cache(maxsize=MAX_DOMAINS)(self._disposable_domain)
        self.likelier: dict[str, str | None] = {}
        """Domain -> the one that was probably meant: what mailgenius.address.suggest found with these lists."""

    def _disposable_domain(self, domain: str) -> bool:
        while domain:
            if domain in self.disposable:
                return True
            domain = domain.partition(".")[2]
        return False

    def is_disposable(self, normalized: str) -> bool:
        """For a normalised address: its domain or one above it is on the list."""
        return self.disposable_domain(normalized.rpartition("@")[2])

    def is_free(self, normalized: str) -> bool:
        """For a normalised address: its domain is on the list."""
        return normalized.rpartition("@")[2] in self.free

    def is_role(self, normalized: str) -> bool:
        """For a normalised address: its local part, without +tag, is on the list."""
        local = normalized.rpartition("@")[0]
        return local in self.roles or local.partition("+")[0] in self.roles


@lru_cache(maxsize=1)
def _built_in() -> Lists:
    from disposable_email_domains import blocklist  # 10,000 names: only who asks loads them

    version = importlib.metadata.version("disposable-email-domains")
    own = f"mailgenius, {tables.DATE}"
    return Lists(
        frozenset(blocklist),
        tables.FREE,
        tables.ROLES,
        {"disposable": f"disposable-email-domains {version}", "free": own, "roles": own},
    )


_chosen: list[Lists] = []  # at most one; replaced as a whole, which is atomic


def current() -> Lists:
    """The lists in use now."""
    return _chosen[0] if _chosen else _built_in()


def _domains(name: str, entries: Iterable[str]) -> frozenset[str]:
    found = set()
    for entry in entries:
        result = resolver.resolve(b"x@" + entry.strip().encode("utf-8"), ALLOW_SPECIAL_USE)
        if (
            result == _IDNA
        ):  # such as the emoji domains on public lists: no accepted address has one, so nothing is lost
            continue
        if isinstance(result, int):
            raise ValueError(f"{name}: {entry!r} is not a domain ({REASONS[result]})")
        found.add(result.partition(b"@")[2].decode("ascii"))
    return frozenset(found)


def _roles(entries: Iterable[str]) -> frozenset[str]:
    found = set()
    for entry in entries:
        result = resolver.resolve(entry.strip().encode("utf-8") + b"@x.example")
        if isinstance(result, int):
            raise ValueError(f"roles: {entry!r} is not a local part ({REASONS[result]})")
        found.add(result.decode("utf-8").partition("@")[0])
    return frozenset(found)


def use_lists(
    *,
    disposable: Iterable[str] | None = None,
    free: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    source: str = "given to use_lists",
) -> Lists:
    """Replaces the lists that are given, for the whole process; the others stay. None given: the built-in again.

    Domains and local parts may be written in any case and as U-labels. ValueError names an entry that is neither; then
    nothing is replaced. ``source`` is what ``current().sources`` will say.
    """
    if disposable is None and free is None and roles is None:
        _chosen.clear()
        return current()
    base = current()
    given = {"disposable": disposable, "free": free, "roles": roles}
    new = Lists(
        base.disposable if disposable is None else _domains("disposable", disposable),
        base.free if free is None else _domains("free", free),
        base.roles if roles is None else _roles(roles),
        {name: base.sources[name] if entries is None else source for name, entries in given.items()},
    )
    _chosen[:] = [new]
    return new
