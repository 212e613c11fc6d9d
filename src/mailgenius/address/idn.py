"""Internationalised addresses: what the kernel leaves open because it knows ASCII alone.

Local parts follow RFC 6531 (UTF-8, here also in normal form C); domains are mapped by UTS #46, non-transitional, and
checked by IDNA2008 (RFC 5890 to 5893) with the ``idna`` package. The normalised form is lower case, in normal form
C, its domain all A-labels. Structure is not judged twice: the kernel sees the address again with every non-ASCII byte
replaced, so both paths give the same reasons in the same order.

Limits: about a microsecond for a domain seen before, 20 to 100 for a new one; ``max_domains`` are remembered. Which code
points exist is decided by the Unicode version of the running Python and of ``idna``.
"""

from __future__ import annotations

import unicodedata

from mailgenius._native import REASONS, address_accept, address_check, address_reason

NUMBER = {code: number for number, code in enumerate(REASONS)}
OK = NUMBER["ok"]
IDN = NUMBER["email.idn"]
_CONTROL = NUMBER["email.control"]
_ENCODING = NUMBER["email.encoding"]
_NOT_NFC = NUMBER["email.not_nfc"]
_IDNA = NUMBER["email.domain_idna"]
# What may be only an effect of the replacement, so the real domain decides.
_OPEN = {OK, IDN} | {
    number
    for code, number in NUMBER.items()
    if code.startswith("email.domain_") and code not in {"email.domain_empty", "email.domain_literal"}
}
# Every byte that is not ASCII becomes a letter, which no rule of the kernel minds: lengths and structure stay.
_PLAIN = bytes(range(128)) + b"x" * 128


def domain_to_ascii(domain: str) -> str | int:
    """The A-label form of a domain in lower case, or the number of the reason why there is none.

    Plain ASCII labels pass as they are: host name syntax and lengths are the kernel's part.
    """
    import idna  # its tables are large: only who meets such a domain loads them

    try:
        mapped = idna.uts46_remap(domain, std3_rules=False)
        labels = []
        for label in mapped.split("."):
            if not label.isascii():
                idna.check_label(label)
                labels.append("xn--" + label.encode("punycode").decode("ascii"))
            elif label.startswith("xn--"):
                decoded = idna.ulabel(label)
                if decoded.isascii() or "xn--" + decoded.encode("punycode").decode("ascii") != label:
                    return _IDNA
                labels.append(label)
            else:
                labels.append(label)
    except (idna.IDNAError, UnicodeError):
        return _IDNA
    return ".".join(labels)


class IdnResolver:
    """Decides addresses of any kind; safe to share between threads.

    ``max_domains``: how many domains are remembered, about 300 bytes each. When there is no more room, all are forgotten
    at once: that costs less than keeping an order, and a list seldom has as many.
    """

    def __init__(self, max_domains: int = 32_768) -> None:
        self._max_domains = max_domains
        self.known: dict[bytes, bytes | int] = {}
        """Domain as written (UTF-8, no control or formatting characters) -> its A-labels, or why it has none."""

    def resolve(self, address: bytes, options: int = 0) -> bytes | int:
        """The normalised address (UTF-8), or the number of the reason it is refused for, never that of email.idn.

        ``options``: ``ALLOW_QUOTED`` and ``ALLOW_SPECIAL_USE`` of the compiled core, or 0.
        """
        reason, _, normalized = address_check(address, options)
        if normalized is not None:
            return normalized
        if reason != IDN:
            return reason
        try:
            text = address.decode("utf-8")
        except UnicodeDecodeError:
            return _ENCODING
        result = self.resolve_open(text, options)
        return result if isinstance(result, int) else result.encode("utf-8")

    def resolve_open(self, text: str, options: int) -> str | int:
        """The same for an address of which the kernel said email.idn."""
        accepted = address_accept(text, self.known, options)
        return accepted if accepted is not None else self._judge(text, options)

    def _judge(self, text: str, options: int) -> str | int:
        """The long way: for a domain not met before, or to say what is wrong. Checks stand in the order of reasons."""
        try:
            address = text.encode("utf-8")
        except UnicodeEncodeError:  # lone surrogates
            return _ENCODING
        if len(address) > 254:
            return address_reason(address, options)
        if any(char > "\x7f" and unicodedata.category(char)[0] in "CZ" for char in text):
            return _CONTROL
        reason = address_reason(address.translate(_PLAIN), options)
        if reason not in _OPEN:
            return reason
        local, _, domain = text.rpartition("@")
        if not unicodedata.is_normalized("NFC", local):
            return _NOT_NFC
        ascii_domain = self._domain(domain)
        if isinstance(ascii_domain, int):
            return ascii_domain
        # Lower case may grow (U+0130 becomes two code points), so the limits are checked once more on the result.
        result = f"{unicodedata.normalize('NFC', local.lower())}@{ascii_domain}"
        reason = address_reason(result.encode("utf-8").translate(_PLAIN), options)
        return result if reason in (OK, IDN) else reason

    def _domain(self, domain: str) -> str | int:
        key = domain.encode("utf-8")
        known = self.known.get(key)
        if known is None:
            labels = domain_to_ascii(domain)
            known = labels.encode("ascii") if isinstance(labels, str) else labels
            if len(self.known) >= self._max_domains:
                self.known.clear()
            self.known[key] = known
        return known.decode("ascii") if isinstance(known, bytes) else known


resolver = IdnResolver()
"""The process's own, used by ``validate_email`` and ``validate_emails``."""
