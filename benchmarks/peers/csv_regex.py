"""csv + the HTML5 pattern + psycopg copy: fast; wrong about many bad addresses and about every international one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import _rows

if TYPE_CHECKING:
    from . import Counts

HTML5 = (  # https://html.spec.whatwg.org/#valid-e-mail-address
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


def load(path: str, conninfo: str) -> Counts:
    match = re.compile(HTML5).fullmatch

    def check(address: str) -> str:
        if match(address) is None:
            raise ValueError("syntax")
        return address.lower()

    return _rows.load(path, conninfo, check)
