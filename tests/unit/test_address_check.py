"""validate_email: what it says about single addresses, beyond the corpus."""

import msgspec
import pytest

import mailgenius
from mailgenius import validate_email


def test_what_a_check_holds() -> None:
    check = validate_email("Ann+news@Example.COM")
    assert check.valid
    assert bool(check)
    assert (check.reason, check.normalized, check.message) == ("ok", "ann+news@example.com", "The address is accepted.")
    assert (check.suggestion, check.role, check.disposable, check.free) == (None, False, False, False)
    assert check.address == "Ann+news@Example.COM"


def test_a_refusal_says_why() -> None:
    check = validate_email("ann.example.com")
    assert not check
    assert (check.reason, check.normalized, check.message) == ("email.no_at", None, "The address has no @.")
    assert [check.role, check.disposable, check.free] == [False] * 3


def test_a_check_cannot_be_changed_and_can_be_a_key() -> None:
    check = validate_email("a@b.com")
    with pytest.raises(AttributeError):
        check.valid = False  # type: ignore[misc]
    assert {check: 1}[validate_email("a@b.com")] == 1


def test_a_check_becomes_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(validate_email("info@gmial.com").as_dict())) == {
        "address": "info@gmial.com",
        "valid": True,
        "reason": "ok",
        "message": "The address is accepted.",
        "normalized": "info@gmial.com",
        "suggestion": "info@gmail.com",
        "role": True,
        "disposable": validate_email("info@gmial.com").disposable,
        "free": False,
    }


@pytest.mark.parametrize("address", [None, b"a@b.com", 1, ["a@b.com"]])
def test_only_str_is_an_address(address: object) -> None:
    with pytest.raises(TypeError, match="an address is str, not"):
        validate_email(address)  # type: ignore[arg-type]


def test_a_subclass_of_str_counts() -> None:
    class Address(str):
        __slots__ = ()

    assert validate_email(Address("A@B.com")).normalized == "a@b.com"
    assert validate_email(Address("é@B.com")).normalized == "é@b.com"
    assert validate_email(Address("")).reason == "email.empty"


def test_options() -> None:
    quoted, special = '"a b"@example.com', "a@printer.local"
    assert validate_email(quoted).reason == "email.local_quoted"
    assert validate_email(quoted, allow_quoted=True).normalized == quoted
    assert validate_email(special).reason == "email.domain_special_use"
    assert validate_email(special, allow_special_use=True).valid
    assert not validate_email(quoted, allow_special_use=True)
    assert not validate_email(special, allow_quoted=True)
    assert validate_email('"é b"@printer.local', allow_quoted=True, allow_special_use=True).valid


def test_public_names() -> None:
    assert {"EmailCheck", "EmailChecks", "validate_email", "validate_emails"} <= set(mailgenius.__all__)
