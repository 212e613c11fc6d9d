"""Roles, throw-away and public providers: what the built-in lists say, and how they are replaced."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

import pytest

from mailgenius import validate_email
from mailgenius.address import IdnResolver, current_lists, load_lists, tables, use_lists
from tools import address_lists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _built_in_lists() -> Iterator[None]:
    use_lists()
    yield
    use_lists()


@pytest.mark.parametrize(
    "address",
    ["info@example.com", "Postmaster@example.com", "ABUSE@example.com", "sales+spring@example.com", "no-reply@b.com",
     "vendas@exemplo.com.br", "contato@exemplo.com.br", "ventas@ejemplo.es", "rrhh@ejemplo.mx", "support@bücher.de"],
)  # fmt: skip
def test_roles(address: str) -> None:
    assert validate_email(address).role


@pytest.mark.parametrize(
    "address", ["ann@example.com", "infoo@example.com", "information.ann@example.com", "info", "x+info@b.co"]
)
def test_persons(address: str) -> None:
    assert not validate_email(address).role


def test_disposable_domains_and_what_is_below_them() -> None:
    for domain in ("mailinator.com", "MAILINATOR.com", "x.mailinator.com", "a.b.mailinator.com"):
        assert validate_email(f"ann@{domain}").disposable
    for domain in ("gmail.com", "example.com", "mailinator-example.com", "mailinator.com.example.org", "bücher.de"):
        assert not validate_email(f"ann@{domain}").disposable
    assert not validate_email("mailinator.com").disposable


def test_public_providers() -> None:
    for domain in (
        "gmail.com",
        "Outlook.com",
        "yahoo.com.br",
        "uol.com.br",
        "web.de",
        "qq.com",
        "hotmail.es",
        "proton.me",
    ):
        assert validate_email(f"ann@{domain}").free, domain
    for domain in ("example.com", "mail.gmail.com", "company.com.br"):
        assert not validate_email(f"ann@{domain}").free


def test_sources_are_stated() -> None:
    lists = current_lists()
    version = importlib.metadata.version("disposable-email-domains")
    assert lists.sources["disposable"] == f"disposable-email-domains {version}"
    assert tables.DATE in lists.sources["free"]
    assert len(lists.disposable) > 3000
    assert len(lists.free) > 300
    assert len(lists.roles) > 300


def test_no_public_provider_is_called_disposable() -> None:
    """For the big ones; which small ones the package lists is its own affair, and changes."""
    for domain in (
        "gmail.com",
        "yahoo.com",
        "hotmail.com",
        "outlook.com",
        "icloud.com",
        "uol.com.br",
        "gmx.de",
        "qq.com",
    ):
        assert not validate_email(f"a@{domain}").disposable


def test_the_tables_are_normalised() -> None:
    resolver = IdnResolver()
    for domain in tables.FREE:
        assert resolver.resolve(b"a@" + domain.encode()) == b"a@" + domain.encode()
    for role in tables.ROLES:
        assert resolver.resolve(role.encode() + b"@b.com") == role.encode() + b"@b.com"


def test_lists_are_replaced_one_by_one() -> None:
    before = current_lists()
    lists = use_lists(disposable=["Throw-Away.Example", "bücher.de"], source="ours, 2026-03-01")
    assert lists is current_lists()
    assert lists.disposable == {"throw-away.example", "xn--bcher-kva.de"}
    assert lists.free == before.free
    assert lists.sources["disposable"] == "ours, 2026-03-01"
    assert lists.sources["free"] == before.sources["free"]
    assert validate_email("a@x.bücher.de").disposable
    assert not validate_email("a@mailinator.com").disposable
    use_lists(free=["example.com"], roles=["Büro"])
    assert validate_email("büro@example.com").role
    assert validate_email("büro@example.com").free
    assert validate_email("a@x.bücher.de").disposable
    assert not validate_email("info@gmail.com").role
    use_lists()
    assert validate_email("info@gmail.com").role


def test_a_wrong_entry_changes_nothing() -> None:
    before = current_lists()
    with pytest.raises(ValueError, match=r"free: 'no domain' is not a domain \(email.space\)"):
        use_lists(disposable=["fine.com"], free=["no domain"])
    with pytest.raises(ValueError, match=r"roles: 'a@b' is not a local part"):
        use_lists(roles=["a@b"])
    assert current_lists() is before


def test_a_known_provider_is_no_typing_error() -> None:
    assert validate_email("a@gmaill.com").suggestion == "a@gmail.com"
    use_lists(free=["gmaill.com"])
    assert validate_email("a@gmaill.com").suggestion is None


def test_lists_from_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has none of disposable\.txt, free\.txt, roles\.txt"):
        load_lists(tmp_path)
    before = current_lists()
    (tmp_path / "disposable.txt").write_bytes(b"\xef\xbb\xbf# ours\n\nthrowaway.example\r\n  Other.Example  \n")
    lists = load_lists(tmp_path)
    assert lists.disposable == {"throwaway.example", "other.example"}
    assert lists.roles == before.roles
    assert lists.sources["disposable"] == str(tmp_path)
    (tmp_path / "roles.txt").write_text("chef\nnot ok\n", "utf-8")
    with pytest.raises(ValueError, match="roles: 'not ok'"):
        load_lists(str(tmp_path))
    assert current_lists() is lists


def test_the_tables_are_kept_in_order() -> None:
    text = address_lists.TABLES.read_text("utf-8")
    assert address_lists.complaints(text) == []
    spoiled = text.replace("    126.com", "    zzz.com 126.com Big.com no_domain", 1)
    found = address_lists.complaints(spoiled)
    assert any("Big.com is not in normal form, which is x@big.com" in complaint for complaint in found)
    assert any("no_domain cannot be part of an address (email.domain_char)" in complaint for complaint in found)
    assert any("not sorted" in complaint for complaint in found)
    assert address_lists.in_order(address_lists.in_order(spoiled)) == address_lists.in_order(spoiled)


def test_a_snapshot_can_be_loaded(tmp_path: Path) -> None:
    before = current_lists()
    assert address_lists.main(["--snapshot", str(tmp_path / "lists")]) == 0
    after = load_lists(tmp_path / "lists")
    assert (after.free, after.roles) == (before.free, before.roles)
    unreachable = before.disposable - after.disposable  # emoji domains and the like
    assert after.disposable <= before.disposable
    assert {validate_email(f"a@{domain}").reason for domain in unreachable} <= {"email.domain_idna"}
    assert "disposable-email-domains" in (tmp_path / "lists" / "disposable.txt").read_text("utf-8").splitlines()[0]
