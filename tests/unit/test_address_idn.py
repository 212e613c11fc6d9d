"""The internationalised rules: properties that hold for any text, and agreement with an independent validator."""

from __future__ import annotations

import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from email_validator import EmailNotValidError
from email_validator import validate_email as rival
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius import validate_email
from mailgenius._native import REASONS, address_accept, address_check, address_list_open
from mailgenius.address import IdnResolver

IDN = REASONS.index("email.idn")
CORPUS = json.loads((Path(__file__).parents[1] / "data" / "addresses.json").read_text("utf-8"))

# Where email-validator has another rule than ours, on purpose of either side.
DIFFERENT = {
    "a@a---b.com",  # it refuses hyphens in places three and four of any label; RFC 5321 does not
    "a@ab--cd.com",
    "a@x.a3",  # it wants a top label to end in a letter; RFC 5321 and RFC 3696 do not
    "a@x.1-2",
    "é" * 33 + "@b.com",  # it counts characters of the local part; RFC 6531 section 3.3 keeps the limit in octets
    "a" * 63 + "é@b.com",
    "Ⱥ" * 32 + "@b.com",  # 64 octets, but 96 in lower case
}


def rival_says(address: str) -> str | None:
    """The normalised address by email-validator, lower case as ours, or None if it refuses."""
    try:
        found = rival(address, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return None
    return f"{found.local_part.lower()}@{found.ascii_domain}"


def test_an_independent_validator_agrees() -> None:
    """Over the corpus, where the rules are the same: default options, and it normalises what we want normalised."""
    compared = 0
    for group in CORPUS:
        if group["options"] or group["expect"] == "email.not_nfc":
            continue
        for case in group["cases"]:
            address, normalized = case if isinstance(case, list) else (case, case)
            if address not in DIFFERENT:
                assert rival_says(address) == (normalized if group["expect"] == "ok" else None), ascii(address)
                compared += 1
    assert compared > 450


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "M"]), min_size=1, max_size=8)
MIXED = r"[a-zA-Z0-9.!\u00c0-\u017f\u0400-\u04ff]{1,12}@[a-z0-9\-.\u00c0-\u017f\u0400-\u04ff。]{1,20}"
addresses = st.one_of(
    st.text(max_size=40),
    st.from_regex(MIXED, fullmatch=True),
    st.builds(
        lambda local, labels: f"{local}@{'.'.join(labels)}",
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
        st.lists(WORDS, min_size=1, max_size=4),
    ),
)


@given(addresses, st.booleans(), st.booleans())
@settings(max_examples=600, deadline=None)
def test_what_is_accepted_keeps_the_promises(address: str, quoted: bool, special: bool) -> None:
    check = validate_email(address, allow_quoted=quoted, allow_special_use=special)
    assert (check.normalized is None) == (not check.valid)
    assert check.reason != "email.idn"
    if check.normalized is None:
        return
    normal = check.normalized
    local, _, domain = normal.rpartition("@")
    assert unicodedata.is_normalized("NFC", normal)
    assert len(normal.encode()) <= 254
    assert len(local.encode()) <= 64
    assert domain.isascii()
    assert domain == domain.lower()
    assert "." in domain
    assert all(0 < len(label) <= 63 and label[0] != "-" != label[-1] for label in domain.split("."))
    assert not domain.rpartition(".")[2].isdigit()
    assert not any(unicodedata.category(char)[0] in "CZ" for char in normal if char != " " or not quoted)
    again = validate_email(normal, allow_quoted=quoted, allow_special_use=special)
    assert again.normalized == normal


@given(st.text(st.characters(max_codepoint=127), max_size=40))
@settings(max_examples=500, deadline=None)
def test_the_kernel_alone_decides_ascii_without_a_labels(address: str) -> None:
    reason, _, normalized = address_check(address.encode())
    check = validate_email(address)
    if REASONS[reason] != "email.idn":
        assert check.reason == REASONS[reason]
        assert check.normalized == (normalized.decode() if normalized is not None else None)


def test_bytes_that_are_not_utf8() -> None:
    resolver = IdnResolver()
    for data in (
        b"jos\xe9@example.com",
        b"a@b\xff.com",
        b"\xc3@b.com",
        b"\xed\xa0\x80@b.com",
        b"\xf5\x80\x80\x80@b.com",
    ):
        assert resolver.resolve(data) == REASONS.index("email.encoding")


def test_domains_are_remembered_up_to_a_bound() -> None:
    resolver = IdnResolver(max_domains=100)
    for number in range(330):
        assert resolver.resolve(f"a@ü{number}.de".encode()) == b"a@xn--" + f"ü{number}".encode("punycode") + b".de"
        assert resolver.resolve(f"b@ü{number}.de".encode()) == b"b@xn--" + f"ü{number}".encode("punycode") + b".de"
        assert len(resolver.known) <= 100
    assert len(resolver.known) == 30


def test_long_texts_are_not_remembered() -> None:
    resolver = IdnResolver()
    assert resolver.resolve_open("é@" + "ü" * 1_000_000, 0) == REASONS.index("email.domain_too_long")
    assert not resolver.known


@given(addresses, st.sampled_from([0, 1, 2, 3]))
@settings(max_examples=600, deadline=None)
def test_a_domain_met_before_changes_nothing(address: str, options: int) -> None:
    """The short way and the long way say the same."""
    resolver = IdnResolver()
    first = resolver.resolve_open(address, options)
    assert resolver.resolve_open(address, options) == first
    assert resolver._judge(address, options) == first
    assert isinstance(first, str) == (address_accept(address, resolver.known, options) is not None)
    for form in (address, address.encode("utf-8", "surrogatepass")):
        reasons = bytearray([IDN])
        left = address_list_open([form], resolver.known, options, reasons)
        assert left or (reasons[0] == 0 and isinstance(first, str)), "the short way for lists accepts too much"


def test_usual_scripts_take_the_short_way() -> None:
    resolver = IdnResolver()
    addresses: list[str | bytes] = [
        f"{local}@{domain}"
        for local in ("ann", "josé.perez", "ÑANDÚ", "ольга", "Παράδειγμα", "用户", "ユーザー"[:3], "사용자", "ǆ")
        for domain in ("bücher.de", "Bücher.De", "пример.рф", "例え.jp", "xn--bcher-kva.de", "example。com")
    ]
    addresses += [address.encode() for address in addresses if isinstance(address, str)]
    reasons = bytearray([IDN]) * len(addresses)
    assert address_list_open(addresses, resolver.known, 0, reasons) == list(range(len(addresses)))
    for address in addresses:
        resolver.resolve(address if isinstance(address, bytes) else address.encode())
    assert address_list_open(addresses, resolver.known, 0, reasons) == []
    assert not any(reasons)


def test_threads_may_share_a_resolver() -> None:
    resolver = IdnResolver(max_domains=50)
    wanted = [(f"é{n}@ü{n % 120}.de".encode(), n) for n in range(2000)]
    expected = [IdnResolver().resolve(address) for address, _ in wanted]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: [resolver.resolve(address) for address, _ in wanted], range(4)):
            assert found == expected


def test_the_short_way_accepts_no_character_that_the_long_way_refuses() -> None:
    """Every code point of the BMP, alone and behind each kind of character that could combine with it."""
    resolver = IdnResolver()
    resolver.resolve("a@bücher.de".encode())
    forms = [f"{before}{chr(c)}@bücher.de" for c in range(0x80, 0x10000) for before in ("", "e", "ㄱ", "가", "か")]
    reasons = bytearray([IDN]) * len(forms)
    address_list_open(forms, resolver.known, 0, reasons)
    taken = [form for form, reason in zip(forms, reasons, strict=True) if reason == 0]
    assert len(taken) > 100_000
    assert not [form for form in taken if not isinstance(resolver._judge(form, 0), str)]
    for form in taken:
        local = form.partition("@")[0]
        assert len(local.lower().encode()) <= len(local.encode()) * 3 // 2, "grows by more than the kernel allows for"
