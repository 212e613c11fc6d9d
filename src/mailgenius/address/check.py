"""One address: ``validate_email`` and what it returns."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius._native import ALLOW_QUOTED, ALLOW_SPECIAL_USE, REASON_TEXTS, REASONS, address_normalize
from mailgenius.address.idn import IDN, NUMBER, resolver
from mailgenius.address.lists import current
from mailgenius.address.suggest import suggest


class EmailCheck(msgspec.Struct, frozen=True, gc=False):
    """What is known about one address without asking any server.

    What costs more than syntax (``suggestion``, ``role``, ``disposable``, ``free``) is looked up when asked for, in the
    lists in use at that moment (``use_lists``).
    """

    address: str
    """As it was given."""
    valid: bool
    """One can send to it, as far as its form tells."""
    reason: str
    """``"ok"`` or a code such as ``"email.no_at"``; codes do not change between versions, texts may."""
    normalized: str | None
    """Lower case, normal form C, the domain as A-labels: one form for all spellings of an address. None if refused."""

    @property
    def message(self) -> str:
        """The reason in words."""
        return f"The address {REASON_TEXTS[NUMBER[self.reason]]}." if not self.valid else "The address is accepted."

    @property
    def suggestion(self) -> str | None:
        """The address probably meant: ``ann@gmail.com`` for ``ann@gmial.com`` or ``<ann@gmail.com>``; or None."""
        return suggest(self.address, self.normalized)

    @property
    def role(self) -> bool:
        """It belongs to a function (info@, vendas@), not to a person. False if not valid."""
        return self.normalized is not None and current().is_role(self.normalized)

    @property
    def disposable(self) -> bool:
        """Its domain, or one above it, hands out throw-away addresses. False if not valid."""
        return self.normalized is not None and current().is_disposable(self.normalized)

    @property
    def free(self) -> bool:
        """Its domain is a public mailbox provider (gmail.com, uol.com.br). False if not valid."""
        return self.normalized is not None and current().is_free(self.normalized)

    def __bool__(self) -> bool:
        return self.valid

    def as_dict(self) -> dict[str, Any]:
        """Everything, looked up, ready for JSON."""
        return {
            "address": self.address,
            "valid": self.valid,
            "reason": self.reason,
            "message": self.message,
            "normalized": self.normalized,
            "suggestion": self.suggestion,
            "role": self.role,
            "disposable": self.disposable,
            "free": self.free,
        }


def options_of(allow_quoted: bool, allow_special_use: bool) -> int:
    """The kernel's option bits."""
    return (ALLOW_QUOTED if allow_quoted else 0) | (ALLOW_SPECIAL_USE if allow_special_use else 0)


def validate_email(address: str, *, allow_quoted: bool = False, allow_special_use: bool = False) -> EmailCheck:
    """Is this an address one can send to, by its form? No server is asked, and nothing is trimmed.

    Accepted is a Mailbox of RFC 5321 with a dotted domain, or its internationalised form (RFC 6531: UTF-8 local part in
    normal form C; IDNA2008 domain, mapped by UTS #46). At most 254 octets, 64 of them before the @, 63 a domain label.
    Not accepted: address literals, comments, display names, folding, ``mailto:``, trailing dots, top labels of digits,
    control and formatting characters.

    ``allow_quoted``: accept quoted local parts, ``"a b"@example.com``. ``allow_special_use``: accept the top labels
    arpa, invalid, local, localhost, onion and test (RFC 6761), which no mail on the Internet reaches.
    Raises TypeError for anything but str.
    """
    options = options_of(allow_quoted, allow_special_use) if allow_quoted or allow_special_use else 0
    result = address_normalize(address, options)
    if not isinstance(result, str) and result == IDN:
        result = resolver.resolve_open(address, options)
    if isinstance(result, str):
        return EmailCheck(address, True, "ok", result)
    return EmailCheck(address, False, REASONS[result], None)
