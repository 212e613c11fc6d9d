"""csv + email-validator + psycopg copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from email_validator import validate_email

from . import _rows

if TYPE_CHECKING:
    from . import Counts


def load(path: str, conninfo: str) -> Counts:
    def check(address: str) -> str:
        found = validate_email(address, check_deliverability=False)
        return f"{found.local_part}@{found.ascii_domain}".lower()

    return _rows.load(path, conninfo, check)
