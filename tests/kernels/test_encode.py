"""Rows become records: every kind of field against plain Python, hostile rows, and rows that come back as problems."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailgenius import _native
from tests.kernels.lead_records import (
    ATTRIBUTES,
    CREATED_AT,
    EMAIL,
    FIRST_NAME,
    SCORE,
    STATUS,
    TAGS,
    Problem,
    as_csv,
    decode,
    expect,
    problems,
    scanned,
)

ATTRIBUTE, IGNORE = _native.ATTRIBUTE, _native.IGNORE
TARGETS = [*range(ATTRIBUTES), STATUS, SCORE, CREATED_AT, ATTRIBUTE, ATTRIBUTE, IGNORE]
NAMES = ["e", "f", "l", "p", "c", "ci", "co", "t", "s", "sc", "cr", 'plan "Ä"\n', "source", "ignored"]  # fmt: skip
THOROUGH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LIMITS = [254, 20, 20, 15, 30, 20, 20, 12, 20, 20, 40, 25, 25, 10]


@pytest.fixture(params=_native.isas(), autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(before)


def encode(
    rows: list[list[bytes]] | bytes,
    targets: list[int],
    limits: list[int] | None = None,
    names: list[str] | None = None,
    **options: Any,
) -> tuple[list[dict[str, Any]], list[Problem]]:
    limits = limits or [100] * len(targets)
    plan = _native.Plan(targets, limits, names or [f"c{i}" for i in range(len(targets))], **options)
    batch = scanned(rows if isinstance(rows, bytes) else as_csv(rows))
    records = _native.Records()
    records.encode(plan, batch)
    found = decode(records.tobytes())
    assert records.count == len(found)
    assert records.nbytes == len(records.tobytes())
    wrong = problems(records)
    assert len(found) + len(wrong) == len(batch)
    assert records.take_problems() == []
    return found, wrong


def one(value: bytes, target: int, limit: int = 100, **options: Any) -> Any:
    """What one field becomes: its value, None for NULL, or (reason, at)."""
    rows = [[b"a@example.com", value], [b"b@example.com", b""]]
    found, wrong = encode(rows, [EMAIL, target], [254, limit], ["e", "name"], **options)
    if wrong:
        assert [w.row for w in wrong] == [0]
        assert wrong[0].column == 1
        return wrong[0].reason, wrong[0].at
    name = "attributes" if target == ATTRIBUTE else _native.LEAD_FIELDS[target]
    return found[0].get(name)


# ---- each kind of field ----


def test_a_record_says_what_stood_there() -> None:
    row = b'Ana@Example.COM,Ana," Souza ",+55 11,"Padaria ""Sol""",S\xc3\xa3o Paulo,BR,vip; expo ;vip;,'
    row += b'ACTIVE,-7,2026-03-04T05:06:07.5-03:00,gold,"a\\b",x\n'
    found, wrong = encode(row, TARGETS, LIMITS, NAMES, tags=["expo", "import"])
    assert wrong == []
    (record,) = found
    assert record.pop("created_at").isoformat() == "2026-03-04T08:06:07.500000+00:00"
    assert record == {
        "line": 1,
        "email": "ana@example.com",
        "first_name": "Ana",
        "last_name": "Souza",
        "phone": "+55 11",
        "company": 'Padaria "Sol"',
        "city": "São Paulo",
        "country": "BR",
        "tags": ["vip", "expo", "import"],
        "attributes": {'plan "Ä"\n': "gold", "source": "a\\b"},
        "status": "active",
        "score": -7,
    }


def test_empty_is_null() -> None:
    rows = [[b"a@example.com", *[b""] * 13], [b"b@example.com", *[b" \t "] * 13]]
    found, wrong = encode(rows, TARGETS, LIMITS, NAMES, tags=["import"])
    assert wrong == []
    assert found == [{"line": 1, "email": "a@example.com"}, {"line": 2, "email": "b@example.com"}]


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 1000, 5000, 70000])
@pytest.mark.parametrize("target", [FIRST_NAME, TAGS, ATTRIBUTE])
def test_every_length(size: int, target: int) -> None:
    text = "".join(random.Random(size).choices("abcdefgh", k=size))
    value = one(text.encode(), target, limit=70000)
    assert value == {FIRST_NAME: text, TAGS: [text], ATTRIBUTE: {"name": text}}[target]


@pytest.mark.parametrize("target", [FIRST_NAME, ATTRIBUTE])
def test_text_limits_count_characters(target: int) -> None:
    def got(text: str, limit: int) -> Any:
        value = one(text.encode(), target, limit)
        return value["name"] if isinstance(value, dict) else value

    assert got("abcde", 5) == "abcde"
    assert got("abcdef", 5) == ("field.too_long", 5)
    assert got("  abcdef", 5) == ("field.too_long", 7)
    assert got("äöüßé", 5) == "äöüßé"
    assert got("äöüßéx", 5) == ("field.too_long", 10)
    assert got("😀" * 5, 5) == "😀" * 5
    assert got("a" + "😀" * 5, 5) == ("field.too_long", 17)
    assert got('"' * 6, 5) == ("field.too_long", 5)  # halved quotes count once


@pytest.mark.parametrize("target", [FIRST_NAME, TAGS, ATTRIBUTE])
def test_nul_is_refused_where_it_is_used(target: int) -> None:
    assert one(b"ab\0c", target) == ("field.nul", 2)
    assert one(b"\0", target) == ("field.nul", 0)
    assert encode([[b"a@example.com", b"a\0b"]], [EMAIL, IGNORE])[1] == []
    assert encode([[b"a\0@example.com", b"ab"]], [EMAIL, target])[1] == [Problem(0, 0, "email.control", 1)]


def test_controls_stay() -> None:
    text = "".join(map(chr, range(1, 0x20))) + "\x7f\x80\u2028"
    assert one(b"x" + text.encode() + b"x", FIRST_NAME) == f"x{text}x"
    assert one(b"x" + text.encode() + b"x", ATTRIBUTE) == {"name": f"x{text}x"}


@THOROUGH
@given(
    st.lists(st.text(st.sampled_from('"\\/\n\r\t\x01 ab,é😀') | st.characters(codec="utf-8", exclude_characters="\0")))
)
def test_attributes_are_json(values: list[str]) -> None:
    names = [f'n"{i}\\' for i in range(len(values))]
    row = [b"a@example.com", *[value.encode() for value in values]]
    found, wrong = encode([row], [EMAIL] + [ATTRIBUTE] * len(values), [254] + [10000] * len(values), ["e", *names])
    assert wrong == []
    wanted = {name: text for name, value in zip(names, values, strict=True) if (text := value.strip(" \t"))}
    assert found[0].get("attributes", {}) == wanted


@THOROUGH
@given(
    st.text(st.sampled_from(";,| \tabé"), max_size=60),
    st.sampled_from(["", ";", ",", "|", "/"]),
    st.sampled_from([[], ["a"], ["é", "own"]]),
)
def test_tags_against_python(text: str, separator: str, own: list[str]) -> None:
    separator_byte = ord(separator) if separator else 0
    targets, limits, names = [EMAIL, TAGS], [254, 9], ["e", "t"]
    row = [b"a@example.com", text.encode()]
    found, wrong = encode([row], targets, limits, names, tag_separator=separator_byte, tags=own)
    wanted = expect(targets, limits, names, row, separator=separator, tags=own)
    if isinstance(wanted, dict):
        assert found == [wanted | {"line": 1}]
    else:
        assert [(w.column, w.reason) for w in wrong] == [wanted]


@pytest.mark.parametrize("own", [[], ["import", "b"]])
def test_tags_that_come_again(own: list[str]) -> None:
    """Fields that differ in one byte, in length, beyond the bytes that are remembered, or in nothing."""
    fields = [b"", b"a", b"b", b"a;b", b"b;a", b"a;b;", b"vip;newsletter", b"vip;newsletterx", b"x" * 31, b"x" * 32]
    fields += [
        b"x" * 33,
        b"x" * 31 + b"y",
        b"x" * 8 + b";" + b"x" * 8,
        b";".join(b"%c" % c for c in b"abcdefghijklmnop"),
    ]
    fields += [b"n%d;m%d" % (i, i * i) for i in range(200)] + [b'"a;b"', b'"a;""b"', b"a ; b"]
    order = [fields[k] for k in random.Random(5).choices(range(len(fields)), k=2000)] + fields
    text = b"".join(b"a@example.com,%s\n" % field for field in order)
    targets, limits, names = [EMAIL, TAGS], [254, 40], ["e", "t"]
    found, wrong = encode(text, targets, limits, names, tags=own)
    assert not wrong
    alone = {
        field: encode(b"a@example.com,%s\n" % field, targets, limits, names, tags=own)[0][0].get("tags")
        for field in fields
    }
    assert [row.get("tags") for row in found] == [alone[field] for field in order]


def test_tags_have_limits() -> None:
    assert one(b"a;bcde;fghijk", TAGS, 4) == ("field.too_long", 11)
    assert one(b"a; \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 ;b", TAGS, 4) == ["a", "éééé", "b"]
    assert one(b";".join(b"%d" % i for i in range(1000)), TAGS) == [str(i) for i in range(1000)]
    reason, at = one(b";".join(b"%d" % i for i in range(1001)), TAGS)
    assert (reason, at) == ("field.too_long", len(";".join(map(str, range(1000)))) + 1)
    for separator in ";,|/":  # in a long record, whose bytes are counted before room is made
        many = [str(i) for i in range(10000, 11000)]
        assert one(separator.join(many).encode(), TAGS, tag_separator=ord(separator)) == many
    assert one(b";" * 100000, TAGS) is None
    assert one(b"a;" * 100000, TAGS) == ["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-0", 0), ("+5", 5), ("007", 7), (" 12 ", 12), ("2147483647", 2**31 - 1), ("-2147483648", -(2**31)),
        ("2147483648", ("int.range", 0)), ("-2147483649", ("int.range", 0)), ("9" * 400, ("int.range", 0)),
        ("0" * 400 + "1", 1), ("12.0", ("int.syntax", 2)), ("1e3", ("int.syntax", 1)), ("1,000", ("int.syntax", 1)),
        ("-", ("int.syntax", 1)), ("+", ("int.syntax", 1)), ("--1", ("int.syntax", 1)), ("  x", ("int.syntax", 2)),
        ("1 2", ("int.syntax", 1)), ("٣", ("int.syntax", 0)), ("99999999999x", ("int.syntax", 11)), ("", None),
        ("1\0", ("int.syntax", 1)),
    ],
)  # fmt: skip
def test_scores(text: str, value: Any) -> None:
    assert one(text.encode(), SCORE) == value


@pytest.mark.parametrize("text", ["active", "Unsubscribed", "BOUNCED", "complained", " pending\t"])
def test_statuses(text: str) -> None:
    assert one(text.encode(), STATUS) == text.strip().lower()


@pytest.mark.parametrize(
    "text", ["activ", "actives", "on", "unsubscribed!", "pending1", "x" * 300, "act\u0131ve", "active\0"]
)
def test_unknown_statuses(text: str) -> None:
    assert one(text.encode(), STATUS) == ("status.unknown", 0)


def test_dates_reach_the_record() -> None:
    assert one(b"31/12/2025 11:30 PM", CREATED_AT, dates=1).isoformat() == "2025-12-31T23:30:00+00:00"
    assert one(b"12/31/2025", CREATED_AT, dates=2).isoformat() == "2025-12-31T00:00:00+00:00"
    assert one(b"12/31/2025", CREATED_AT) == ("date.syntax", 2)
    assert one(b" 31/31/2025", CREATED_AT, dates=1) == ("date.range", 1)


# ---- rows ----


def test_field_counts() -> None:
    rows = b'a@example.com,A\nb@example.com\nc@example.com,C,,\nd@example.com,D,,x\ne@example.com,E,  ,""\n'
    found, wrong = encode(rows, [EMAIL, FIRST_NAME])
    assert [r["line"] for r in found] == [1, 3, 5]
    assert wrong == [Problem(1, 1, "row.fields", 0), Problem(3, 3, "row.fields", 0)]
    found, wrong = encode(rows, [EMAIL, FIRST_NAME], pad=True)
    assert [r["line"] for r in found] == [1, 2, 3, 5]
    assert found[1] == {"line": 2, "email": "b@example.com"}
    assert wrong == [Problem(3, 3, "row.fields", 0)]


def test_a_short_row_without_its_email() -> None:
    assert encode(b"x\n", [FIRST_NAME, EMAIL], pad=True)[1] == [Problem(0, 1, "email.empty", 0)]


def test_bad_bytes_have_a_place() -> None:
    rows = b'a@example.com,ok,\xff\nb@example.com,"x""y""\xc3(",z\nc@example.com,\xc3\xa9,z\n'
    rows += b"d@example.com,ab\xed\xa0\x80,\nx\xc0\x80,,\n"
    found, wrong = encode(rows, [EMAIL, FIRST_NAME, IGNORE])
    assert [r["first_name"] for r in found] == ["é"]
    assert wrong == [
        Problem(0, 2, "row.encoding", 0),
        Problem(1, 1, "row.encoding", 4),
        Problem(3, 1, "row.encoding", 2),
        Problem(4, 0, "row.encoding", 1),
    ]


def test_a_character_cut_by_the_next_field() -> None:
    assert encode(b"a@example.com,x\xc3,\xa9\n", [EMAIL, FIRST_NAME, IGNORE])[1] == [Problem(0, 1, "row.encoding", 1)]


def test_the_email_speaks_first_then_the_first_column() -> None:
    targets = [SCORE, CREATED_AT, EMAIL, STATUS, ATTRIBUTE, FIRST_NAME]
    bad = [b"x", b"y", b"nobody", b"z", b"12345", b"12345"]
    good = [b"1", b"2025-01-01", b"a@example.com", b"active", b"1234", b"1234"]
    limits = [4] * 6
    reasons = ["int.syntax", "date.syntax", "email.no_at", "status.unknown", "field.too_long", "field.too_long"]
    for mask in range(64):
        row = [bad[i] if mask >> i & 1 else good[i] for i in range(6)]
        _, wrong = encode([row], targets, limits)
        wanted = 2 if mask >> 2 & 1 else next((i for i in range(6) if mask >> i & 1), None)
        assert [(w.column, w.reason) for w in wrong] == ([(wanted, reasons[wanted])] if wanted is not None else [])


def test_international_addresses_wait_for_their_resolution() -> None:
    rows = "ana@bücher.example,Ana\nbob@example.com,Bob\nzoë@example.com,Zoëëëëë\nx@xn--bcher-kva.example,X\n".encode()
    batch = scanned(rows)
    plan = _native.Plan([EMAIL, FIRST_NAME], [254, 5], ["", ""])
    records = _native.Records()
    records.encode(plan, batch)
    assert [r["email"] for r in decode(records.tobytes())] == ["bob@example.com"]
    assert [(p.row, p.column, p.reason) for p in problems(records)] == [(i, 0, "email.idn") for i in (0, 2, 3)]
    records.encode_row(plan, batch, 0, b"ana@xn--bcher-kva.example")
    records.encode_row(plan, batch, 2, "zoë@example.com".encode())
    assert decode(records.tobytes())[1] == {"line": 1, "email": "ana@xn--bcher-kva.example", "first_name": "Ana"}
    assert problems(records) == [Problem(2, 1, "field.too_long", 8)]
    assert records.count == 2
    with pytest.raises(IndexError):
        records.encode_row(plan, batch, 4, b"x@example.com")
    with pytest.raises(ValueError, match="address"):
        records.encode_row(plan, batch, 0, b"")
    records.clear()
    assert (records.count, records.nbytes, records.tobytes()) == (0, 0, b"")


def test_unreadable_rows_keep_their_reason() -> None:
    found, wrong = encode(b'a@example.com,A\nb@example.com,"B\nc@example.com,C\n', [EMAIL, FIRST_NAME])
    assert [r["email"] for r in found] == ["a@example.com", "c@example.com"]
    assert [(w.row, w.reason) for w in wrong] == [(1, "row.quote_unclosed")]


def test_many_columns() -> None:
    targets = [EMAIL] + [ATTRIBUTE] * 4000
    row = [b"a@example.com", *[b"%d" % i for i in range(4000)]]
    found, _ = encode([row], targets, [254] + [10] * 4000)
    assert found[0]["attributes"] == {f"c{i}": str(i - 1) for i in range(1, 4001)}


def test_blanks_around_fields_are_trimmed_here_too() -> None:
    text = b' a@example.com ,\tAna , 7 ,"  x ", vip ; ,2025-01-02 ,ACTIVE \n'
    targets = [EMAIL, FIRST_NAME, SCORE, ATTRIBUTE, TAGS, CREATED_AT, STATUS]
    plan = _native.Plan(targets, [14, 3, 1, 1, 3, 10, 6], list("abcdefg"), untrimmed=True)
    records = _native.Records()
    records.encode(plan, scanned(text, trim=False))
    (record,) = decode(records.tobytes())
    assert problems(records) == []
    del record["created_at"]
    assert record == {
        "line": 1, "email": "a@example.com", "first_name": "Ana", "score": 7, "attributes": {"d": "x"}, "tags": ["vip"],
        "status": "active",
    }  # fmt: skip


def test_the_worst_row_fits() -> None:
    """Control characters, quotes and separators, as many as there can be, in records short and long."""
    for size in (1, 100, 500, 4000, 5000, 100000):
        for byte in (b"\x01", b'"', b"\\", b"\x1f"):
            assert one(byte * size, ATTRIBUTE, size) == {"name": (byte * size).decode()}
    tags = [chr(c) for c in range(33, 127) if chr(c) not in ';,"']
    assert one(";".join(tags).encode(), TAGS) == tags


# ---- whole rows at random ----

WORDS = ["", "Ana", "João da Silva", "x" * 16, "y" * 17, 'say "hi"', "a,b", "line\nbreak", " padded ", "é" * 20, "\t"]
WORDS += ["😀", "z" * 21]
VALUES: dict[int, list[str]] = {
    EMAIL: ["a@example.com", "First.Last+tag@Sub.Example.org", " b@example.net ", "", "x" * 30 + "@example.com"],
    TAGS: ["", "vip", "vip;expo", "a|b|a", "a, b ,c;d", ";;", "x" * 13, "é" * 12, "one two"],
    STATUS: ["", "Active", "bounced", "gone", "PENDING"],
    SCORE: ["", "0", "-12", "+7", "99999999999", "1.5", "2147483647"],
    CREATED_AT: ["", "2025-01-02", "2025-02-30", "20240229", "2024-02-29T23:59:60Z", "1/2/2025", "soon"],
}
VALUES[CREATED_AT].append("2025-01-02 03:04:05.678901+05:30")


def test_random_rows_against_python() -> None:
    rng = random.Random(20260101)
    for _ in range(25):
        columns = list(range(len(TARGETS)))
        rng.shuffle(columns)
        targets, limits, names = ([source[i] for i in columns] for source in (TARGETS, LIMITS, NAMES))
        rows = [[rng.choice(VALUES.get(t, WORDS)).encode() for t in targets] for _ in range(200)]
        if rng.random() < 0.5:  # most rows good, so that records are made
            rows = [[v if rng.random() < 0.4 else b"" for v in row] for row in rows]
            for row in rows:
                row[targets.index(EMAIL)] = b"x@example.com"
        dates, separator, own = rng.randrange(3), rng.choice(["", ";", "|"]), rng.choice([[], ["vip", "new"]])
        options: dict[str, Any] = {"dates": dates, "tag_separator": ord(separator) if separator else 0, "tags": own}
        found, wrong = encode(rows, targets, limits, names, **options)
        wanted = [expect(targets, limits, names, row, dates=dates, separator=separator, tags=own) for row in rows]
        for record in found:
            del record["line"]
        assert found == [w for w in wanted if isinstance(w, dict)]
        assert [(w.column, w.reason) for w in wrong] == [w for w in wanted if not isinstance(w, dict)]


# ---- what a plan refuses ----


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([EMAIL], [1, 2], ["a"]), {}, "one of each"),
        (([FIRST_NAME], [1], ["a"]), {}, "no column is the e-mail"),
        (([EMAIL, EMAIL], [1, 1], ["a", "b"]), {}, "same target"),
        (([EMAIL, ATTRIBUTES], [1, 1], ["a", "b"]), {}, "not the number"),
        (([EMAIL, 12], [1, 1], ["a", "b"]), {}, "not the number"),
        (([EMAIL, -3], [1, 1], ["a", "b"]), {}, "not the number"),
        (([EMAIL, ATTRIBUTE], [1, 1], ["a", "b\0"]), {}, "NUL"),
        (([EMAIL], [1], ["a"]), {"dates": 3}, "dates"),
        (([EMAIL], [1], ["a"]), {"tag_separator": 200}, "ASCII"),
        (([EMAIL], [1], ["a"]), {"tags": [""]}, "tags"),
        (([EMAIL], [1], ["a"]), {"tags": ["a\0"]}, "tags"),
    ],
)
def test_plans_are_checked(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _native.Plan(*arguments, **options)


def test_limits_and_targets_must_fit() -> None:
    with pytest.raises(OverflowError):
        _native.Plan([EMAIL], [2**32], ["a"])
    with pytest.raises(TypeError):
        _native.Plan([EMAIL, FIRST_NAME], [1, "2"], ["a", "b"])  # type: ignore[list-item]
