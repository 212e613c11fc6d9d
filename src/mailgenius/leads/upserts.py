"""The leads of one ``upsert``: checked, put into batches, and what became of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .model import Upserted
from .segment_check import text
from .values import checked, lead_list


class Upserts:
    def __init__(self, leads: Any, *, allow_quoted: bool, allow_special_use: bool) -> None:
        from mailgenius.address import validate_email  # imported late: it loads numpy

        self._said: list[Upserted | None] = []  # None: what the database will say
        self._emails: list[str] = []
        self._batches: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        seen: set[str] = set()
        for number, lead in enumerate(lead_list(leads)):
            values = checked(f"$[{number}]", lead, others=("email",))
            if "email" not in lead:
                raise ConfigError(f"$[{number}].email: is missing")
            email = text(f"$[{number}].email", lead["email"], empty=True)
            check = validate_email(email, allow_quoted=allow_quoted, allow_special_use=allow_special_use)
            said = None
            if check.normalized is None:
                said = Upserted(email, "rejected", reason=check.reason)
            elif check.normalized in seen:
                said = Upserted(check.normalized, "duplicate")
            else:
                seen.add(check.normalized)
                # One statement for each set of columns: what a lead does not give must stay as it is.
                self._batches.setdefault(tuple(sorted(values)), []).append(values | {"email": check.normalized})
            self._said.append(said)
            self._emails.append(check.normalized or email)

    @property
    def any(self) -> bool:
        """There is something to write."""
        return bool(self._batches)

    def batches(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(columns, leads that give these as JSON), in one order for all callers."""
        for columns in sorted(self._batches):
            yield columns, msgspec.json.encode(self._batches[columns]).decode()

    def outcomes(self, rows: Iterable[Sequence[Any]]) -> list[Upserted]:
        """``rows`` (email, id, inserted, changed) of the leads that were not suppressed."""
        written = {
            email: Upserted(email, "inserted" if inserted else "updated" if changed else "unchanged", number)
            for email, number, inserted, changed in rows
        }
        return [
            said or written.get(email) or Upserted(email, "suppressed")
            for email, said in zip(self._emails, self._said, strict=True)
        ]
