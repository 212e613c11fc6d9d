"""csv + emval (Rust) + psycopg copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emval import EmailValidator

from . import _rows

if TYPE_CHECKING:
    from . import Counts


def load(path: str, conninfo: str) -> Counts:
    validate = EmailValidator(deliverable_address=False).validate_email

    def check(address: str) -> str:
        found = validate(address)
        return f"{found.local_part}@{found.ascii_domain}".lower()

    return _rows.load(path, conninfo, check)
