"""The corpus of tests/data/addresses.json: each case by its rule, through every door and on every instruction set."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from mailgenius import _native, validate_email, validate_emails
from mailgenius._native import ALLOW_QUOTED, ALLOW_SPECIAL_USE, REASONS
from mailgenius.address import IdnResolver

FLAGS = {"allow_quoted": ALLOW_QUOTED, "allow_special_use": ALLOW_SPECIAL_USE}


class Case(NamedTuple):
    address: str
    expect: str
    normalized: str | None
    options: tuple[str, ...]


def read() -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = {}
    for group in json.loads((Path(__file__).parents[1] / "data" / "addresses.json").read_text("utf-8")):
        for case in group["cases"]:
            address, normalized = case if isinstance(case, list) else (case, case)
            expected = normalized if group["expect"] == "ok" else None
            groups.setdefault(f"{group['rule']}: {group['expect']}", []).append(
                Case(address, group["expect"], expected, tuple(group["options"]))
            )
    return groups


CORPUS = read()
ALL = [case for cases in CORPUS.values() for case in cases]


def test_the_corpus_is_large_and_complete() -> None:
    assert len(ALL) >= 300
    tried = {case.expect for case in ALL}
    codes = {code for code in REASONS if code.startswith("email.")} - {"email.idn", "email.encoding"}
    assert codes <= tried, "a reason without a case"


@pytest.mark.parametrize("rule", CORPUS)
def test_rule(rule: str) -> None:
    for address, expect, normalized, options in CORPUS[rule]:
        check = validate_email(address, **dict.fromkeys(options, True))
        assert (check.reason, check.normalized, check.valid) == (expect, normalized, expect == "ok"), ascii(address)


@pytest.mark.parametrize("isa", _native.isas())
def test_batches_say_the_same(isa: str) -> None:
    before = _native.isa()
    _native.force_isa(isa)
    try:
        for options in {case.options for case in ALL}:
            cases = [case for case in ALL if case.options == options]
            checks = validate_emails([case.address for case in cases], **dict.fromkeys(options, True))
            assert [checks.reasons[number] for number in checks.reason] == [case.expect for case in cases]
            assert checks.normalized.tolist() == [case.normalized for case in cases]
            assert checks.valid.tolist() == [case.expect == "ok" for case in cases]
    finally:
        _native.force_isa(before)


def test_the_resolver_says_the_same() -> None:
    resolver = IdnResolver()
    for address, expect, normalized, options in ALL:
        result = resolver.resolve(address.encode(), sum(FLAGS[option] for option in options))
        wanted = normalized.encode() if normalized is not None else REASONS.index(expect)
        assert result == wanted, ascii(address)
        assert resolver.resolve(address.encode(), sum(FLAGS[option] for option in options)) == wanted, "met before"


def test_normal_forms_are_stable() -> None:
    for case in ALL:
        if case.normalized is not None:
            again = validate_email(case.normalized, **dict.fromkeys(case.options, True))
            assert again.normalized == case.normalized


def test_every_reason_reads_as_a_sentence() -> None:
    for case in ALL:
        message = validate_email(case.address, **dict.fromkeys(case.options, True)).message
        assert re.fullmatch(r"The address [a-z].*\.", message)
