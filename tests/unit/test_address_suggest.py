"""Suggestions: likely typing errors and wrapped addresses are seen, honest addresses are left alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mailgenius import validate_email
from mailgenius.address import tables
from mailgenius.address.suggest import one_apart

TYPOS = {
    "gmail.com": "gmial.com gmal.com gmai.com gamil.com gmaill.com gnail.com gmeil.com gmail.con gmail.co gmail.cm "
    "gmail.om gmail.comm gmail.cmo gmail.vom gmail.com.br gmil.com gmsil.com ggmail.com mgail.com",
    "hotmail.com": "hotmal.com hotmial.com hotamil.com homail.com hotmail.con hotmai.com hotmaill.com "
    "hotmail.co ohtmail.com",
    "outlook.com": "outlok.com outllook.com outlook.con outloo.com otlook.com outlook.cmo",
    "yahoo.com": "yaho.com yahooo.com yhaoo.com yahoo.con yahoo.cm",
    "yahoo.com.br": "yaho.com.br yahoo.con.br yahoo.com.vr yhoo.com.br",
    "hotmail.es": "hotmal.es hotmial.es",
    "icloud.com": "iclod.com icluod.com icloud.con",
    "yahoo.co.uk": "yahoo.co.ul yaho.co.uk yahoo.couk",
    "empresa.com": "empresa.con empresa.cmo empresa.ocm",
    "empresa.com.br": "empresa.con.br empresa.com.vr empresa.combr",
    "mail.empresa.org": "mail.empresa.ogr mail.empresa.orgg",
    "example.net": "example.nte example.ner",
}


@pytest.mark.parametrize("meant", TYPOS)
def test_typing_errors(meant: str) -> None:
    for domain in TYPOS[meant].split():
        assert validate_email(f"Ann.Lee@{domain}").suggestion == f"ann.lee@{meant}", domain


@pytest.mark.parametrize(
    "domain",
    ["gmail.com", "mail.com", "email.com", "ymail.com", "fmail.com", "cloud.com", "example.com", "example.co", "t.co",
     "example.om", "yahoo.es", "hotmail.de", "live.com", "love.com", "life.com", "olive.com", "empresa.com.br",
     "bücher.de", "outlook.com.br", "horizon.net", "a.b.c.d.com", "hotel.com", "gmx.de", "gm.com", "mail.ru",
     "qmail.com"],
)  # fmt: skip
def test_honest_domains_are_left_alone(domain: str) -> None:
    assert validate_email(f"ann@{domain}").suggestion is None


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("Ann Lee <Ann@Example.com>", "ann@example.com"),
        ("<ann@example.com>", "ann@example.com"),
        ('"Lee, Ann" <ann@gmial.com>', "ann@gmail.com"),
        ("mailto:ann@example.com?subject=hi", "ann@example.com"),
        ("MAILTO:ann@example.com", "ann@example.com"),
        (" ann@example.com\t", "ann@example.com"),
        ("ann@example.com\r\n", "ann@example.com"),
        ("\ufeffann@example.com", "ann@example.com"),
        ("ann@exam\u200bple.com", "ann@example.com"),
        ("ann@example.com\u00a0", "ann@example.com"),
        ("'ann@example.com'", "ann@example.com"),
        ('"ann@example.com"', "ann@example.com"),
        ("ann@example.com.", "ann@example.com"),
        ("ann@example.com;", "ann@example.com"),
        ("ann@example,com", "ann@example.com"),
        ("ann@example . com", "ann@example.com"),
        ("ann@example..com", "ann@example.com"),
        ("ann..lee@example.com", "ann.lee@example.com"),
        (".ann.@example.com", "ann@example.com"),
        ("ann@gmail", "ann@gmail.com"),
        ("ann@hotmial", "ann@hotmail.com"),
        ("Ann@Gmail.Con ", "ann@gmail.com"),
        ("jose\u0301@example.com", "josé@example.com"),
    ],
)
def test_what_is_wrapped_or_slipped(address: str, meant: str) -> None:
    check = validate_email(address)
    assert not check.valid
    assert check.suggestion == meant
    assert validate_email(meant).valid


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@", "ann@", "@example.com", "a@b@c.com", "a@b.com, c@d.com", "ann lee@example.com", "ann@example",
     "ann@[1.2.3.4]", "ann@example.test", "a" * 65 + "@b.com",
     "ann@exa mple.com", "n/a", "<>", "mailto:",
     "x" * 100_000,
     "@" * 10_000, "<" * 10_000],
)  # fmt: skip
def test_no_suggestion_where_nothing_is_likely(address: str) -> None:
    assert validate_email(address).suggestion is None


def test_one_apart() -> None:
    for a, b in (
        ("abc", "abd"),
        ("abc", "ab"),
        ("abc", "abcd"),
        ("abc", "acb"),
        ("abc", "bac"),
        ("ab", "ba"),
        ("", "a"),
    ):
        assert one_apart(a, b)
        assert one_apart(b, a)
    for a, b in (("abc", "abc"), ("abc", "ade"), ("abc", "cba"), ("abc", "a"), ("abcd", "badc"), ("", "ab"), ("", "")):
        assert not one_apart(a, b)
        assert not one_apart(b, a)


def test_tables_do_not_contradict_themselves() -> None:
    assert not set(tables.TOP_TYPOS) & set(tables.TOP_TYPOS.values())
    assert not set(tables.SUFFIX_TYPOS) & set(tables.SUFFIX_TYPOS.values())
    assert set(tables.BRANDS) >= tables.PLAIN_WORDS
    for suffixes in tables.BRANDS.values():
        assert not set(suffixes) & set(tables.SUFFIX_TYPOS)
        assert len(set(suffixes)) == len(suffixes)
    assert all(a < b for a, b in pairwise(sorted(tables.BRANDS)))
