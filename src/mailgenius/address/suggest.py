"""What was probably meant: typing errors in well-known domains, and addresses wrapped in something else.

A suggestion is for a person to confirm; nothing is corrected silently. Domains on the list of public providers are
never doubted, nor is a domain that differs from a known one in its first letter (fmail.com, email.com exist).
Distance is counted as by Damerau and Levenshtein (one letter wrong, missing, too many, or two swapped), and only one is
forgiven.
"""

from __future__ import annotations

import re
import unicodedata

from mailgenius._native import address_normalize
from mailgenius.address.idn import IDN, resolver
from mailgenius.address.lists import MAX_DOMAINS, current
from mailgenius.address.tables import BRANDS, PLAIN_WORDS, SUFFIX_TYPOS, TOP_TYPOS

_MAX_REPAIR = 512  # characters of a refused address that are looked at
_WRAPPED = re.compile(r"<([^<>]*)>\s*$")
# Not in an address, but often around one: white space, byte order mark, zero-width characters, quotes, punctuation.
_AROUND = " \t\r\n\v\f\xa0\ufeff\u200b\u200c\u200d\u2060\u00ad\"'“”‘’«»()[]<>.,;:"
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def _shortened(name: str) -> set[str]:
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


# Brand with at most one letter dropped -> brands. Two names one apart share such a form.
_FORMS: dict[str, list[str]] = {}
for _brand in sorted(BRANDS.keys() - PLAIN_WORDS):
    for _form in _shortened(_brand):
        _FORMS.setdefault(_form, []).append(_brand)


def one_apart(a: str, b: str) -> bool:
    """One letter wrong, missing or too many, or two neighbours swapped."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1 or a == b:
        return False
    i = 0
    while i < len(a) and a[i] == b[i]:
        i += 1
    if len(a) < len(b):
        return a[i:] == b[i + 1 :]
    return a[i + 1 :] == b[i + 1 :] or (a[i : i + 2] == b[i : i + 2][::-1] and a[i + 2 :] == b[i + 2 :])


def _brand_of(name: str) -> str | None:
    if name in BRANDS:
        return name
    for brand in sorted({brand for form in _shortened(name) for brand in _FORMS.get(form, ())}):
        if one_apart(name, brand) and (name[0] == brand[0] or name[:2] == brand[1::-1]):
            return brand
    return None


def _suffix_of(brand: str, suffix: str) -> str | None:
    """The suffix under which this brand hands out mailboxes that was meant by `suffix`."""
    suffixes = BRANDS[brand]
    mended = SUFFIX_TYPOS.get(suffix, suffix)
    if mended in suffixes:
        return mended
    if "com" in suffixes and (not suffix or one_apart(suffix, "com")):
        return "com"
    if len(suffixes) == 1 and suffix.startswith(suffixes[0] + "."):  # gmail.com.br
        return suffixes[0]
    near = [known for known in suffixes if one_apart(known, suffix)]
    return near[0] if len(near) == 1 else None


def _better(domain: str) -> str | None:
    name, _, suffix = domain.partition(".")
    brand = _brand_of(name)
    if brand is not None:
        meant = _suffix_of(brand, suffix)
        if meant is not None:
            return f"{brand}.{meant}"
    rest, _, top = domain.rpartition(".")
    if suffix in SUFFIX_TYPOS:
        return f"{name}.{SUFFIX_TYPOS[suffix]}"
    return f"{rest}.{TOP_TYPOS[top]}" if rest and top in TOP_TYPOS else None


def suggest_domain(domain: str) -> str | None:
    """A likelier domain than this one (lower case, A-labels), or None."""
    lists = current()
    known = lists.likelier
    try:
        return known[domain]
    except KeyError:
        pass
    better = None if domain in lists.free else _better(domain)
    if better == domain:
        better = None
    if len(known) >= MAX_DOMAINS:
        known.clear()
    known[domain] = better
    return better


def _unwrapped(address: str) -> str:
    """The address inside what surrounds it, with the slips mended that have one possible meaning."""
    text = address[:_MAX_REPAIR]
    wrapped = _WRAPPED.search(text)
    if wrapped:
        text = wrapped.group(1)
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip(_AROUND)
    if text[:7].lower() == "mailto:":
        text = text[7:].partition("?")[0].strip(_AROUND)
    local, sign, domain = text.rpartition("@")
    if not sign or "@" in local:
        return text
    domain = re.sub(r"\s*[.,]+\s*", ".", domain.strip(_AROUND))
    local = re.sub(r"\.{2,}", ".", local.strip().strip("."))
    return f"{local}@{domain}"


def suggest(address: str, normalized: str | None) -> str | None:
    """The address that was probably meant, normalised, or None. ``normalized`` is None if `address` was refused."""
    if normalized is not None:
        local, _, domain = normalized.rpartition("@")
        better = suggest_domain(domain)
        return f"{local}@{better}" if better else None
    text = _unwrapped(address)
    local, sign, domain = text.rpartition("@")
    if not sign:
        return None
    domain = domain.lower()
    better = suggest_domain(domain)
    meant = f"{local}@{better or domain}"
    result = address_normalize(meant)
    if result == IDN:
        result = resolver.resolve_open(meant, 0)
    return result if isinstance(result, str) and result != address else None
