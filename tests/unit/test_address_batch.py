"""validate_emails: every kind of input gives the arrays that validate_email gives one by one."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from mailgenius import EmailCheck, EmailChecks, validate_email, validate_emails
from mailgenius._native import AddressColumn
from tests.unit.arrow_columns import ManyArrays, OneArray

MIXED = [
    "Ann@Example.com", "ann.example.com", "josé@bücher.de", "e\u0301@b.com", "", "info@gmail.com", "a@xn--bcher-kva.de",
    "bob@gmial.com", "a@b.test", "someone.with.a.long.name@mail.department.example.org", "a@☃.com", " a@b.com",
]  # fmt: skip


def expect(checks: EmailChecks, addresses: list[str | None], **options: bool) -> None:
    single = [validate_email(address or "", **options) for address in addresses]
    assert len(checks) == len(addresses)
    assert list(checks) == single
    assert checks.valid.tolist() == [check.valid for check in single]
    assert [checks.reasons[number] for number in checks.reason] == [check.reason for check in single]
    assert checks.normalized.tolist() == [check.normalized for check in single]
    assert checks.suggestion.tolist() == [check.suggestion for check in single]
    assert checks.role.tolist() == [check.role for check in single]
    assert checks.disposable.tolist() == [check.disposable for check in single]
    assert checks.free.tolist() == [check.free for check in single]


@pytest.mark.parametrize("options", [{}, {"allow_quoted": True}, {"allow_special_use": True}])
def test_a_list(options: dict[str, bool]) -> None:
    addresses = [*MIXED, '"é b"@b.com', "é@b.local"]
    expect(validate_emails(addresses, **options), addresses, **options)


def test_other_sequences_and_iterables() -> None:
    expect(validate_emails(tuple(MIXED)), MIXED)
    expect(validate_emails(iter(MIXED)), MIXED)
    expect(validate_emails(dict.fromkeys(MIXED)), MIXED)
    expect(validate_emails([]), [])


def test_missing_ones_are_empty() -> None:
    checks = validate_emails(["a@b.com", None, float("nan"), ""])
    assert checks.counts() == {"email.empty": 3, "ok": 1}
    assert checks[1] == EmailCheck("", False, "email.empty", None)


def test_bytes_count_as_utf8() -> None:
    expect(validate_emails([address.encode() for address in MIXED]), MIXED)
    assert validate_emails([b"jos\xe9@b.com"])[0].reason == "email.encoding"
    assert validate_emails(["\ud800@b.com"])[0].reason == "email.encoding"


def test_numpy_arrays() -> None:
    expect(validate_emails(np.array(MIXED)), MIXED)
    expect(validate_emails(np.array(MIXED, dtype=object)), MIXED)
    expect(validate_emails(np.array([*MIXED, None], dtype=object)), [*MIXED, None])
    expect(validate_emails(np.array([address.encode() for address in MIXED])), MIXED)
    expect(validate_emails(np.array(MIXED)[::2]), MIXED[::2])
    if hasattr(np.dtypes, "StringDType"):
        expect(validate_emails(np.array(MIXED, dtype=np.dtypes.StringDType())), MIXED)
    with pytest.raises(ValueError, match="one column"):
        validate_emails(np.array([MIXED, MIXED]))
    with pytest.raises(TypeError, match="address 0 is int"):
        validate_emails(np.array([1, 2]))


@pytest.mark.parametrize("one", ["a@b.com", b"a@b.com"])
def test_one_address_is_not_many(one: Any) -> None:
    with pytest.raises(TypeError, match="for one, call validate_email"):
        validate_emails(one)


def test_a_list_changed_later_changes_nothing() -> None:
    addresses = ["Ann@Example.com", "bob@gmial.com"]
    checks = validate_emails(addresses)
    addresses[:] = ["x"]
    expect(checks, ["Ann@Example.com", "bob@gmial.com"])


def test_indexing() -> None:
    checks = validate_emails(MIXED)
    assert checks[-1] == checks[len(MIXED) - 1]
    assert checks[2].normalized == "josé@xn--bcher-kva.de"
    with pytest.raises(IndexError):
        checks[len(MIXED)]
    assert repr(checks) == f"<EmailChecks: {int(checks.valid.sum())} of {len(MIXED)} valid>"


@pytest.mark.parametrize("kind", ["u", "U", "vu", "z", "Z", "vz"])
@pytest.mark.parametrize("skip", [0, 3, 9])
def test_arrow_columns(kind: str, skip: int) -> None:
    with_nulls = [None, *MIXED, None, None, *MIXED]
    for values in (MIXED, with_nulls, [], [""]):
        expect(validate_emails(OneArray(kind, values, skip=skip)), values[skip:])
    chunks = (MIXED, [], with_nulls, MIXED[:4])
    expect(validate_emails(ManyArrays(kind, *chunks, skip=skip)), [value for chunk in chunks for value in chunk[skip:]])
    expect(validate_emails(ManyArrays(kind)), [])


@pytest.mark.parametrize("kind", ["c", "C", "s", "S", "i", "I", "l", "L"])
def test_arrow_dictionaries(kind: str) -> None:
    indices = [0, 1, None, 2, 11, 2, 2, None, 5]
    words: list[Any] = [*MIXED[:-1], None]
    column = OneArray(kind, indices, dictionary=words, skip=1)
    expect(validate_emails(column), [None if i is None else words[i] for i in indices[1:]])


def test_an_index_outside_the_dictionary_is_refused() -> None:
    with pytest.raises(ValueError, match="outside its dictionary"):
        validate_emails(OneArray("i", [0, 7], dictionary=["a@b.com"]))


def test_an_arrow_column_of_nulls() -> None:
    assert validate_emails(OneArray("n", [None, None])).counts() == {"email.empty": 2}


@pytest.mark.parametrize(("kind", "complaint"), [("l", "column of text"), ("+s", "pass the one column")])
def test_other_arrow_columns_are_refused(kind: str, complaint: str) -> None:
    column = OneArray(kind, [1]) if kind == "l" else OneArray(kind, [])
    column._buffers = lambda *_: []  # type: ignore[method-assign]
    with pytest.raises(TypeError, match=complaint):
        validate_emails(column)


def test_a_broken_arrow_stream_is_an_error() -> None:
    column = ManyArrays("u", MIXED)
    column.error = b"the cable was cut"
    with pytest.raises(OSError, match="the cable was cut"):
        validate_emails(column)
    gc.collect()
    assert column.released == 1


@pytest.mark.parametrize(
    ("kind", "buffers"),
    [
        ("u", [b"\0\0\0\0\x07\0\0\0\x02\0\0\0", b"a@b.com"]),
        ("u", [b"\xff\xff\xff\xff\x07\0\0\0\x08\0\0\0", b"a@b.com"]),
        ("u", [b"\0\0\0\0\x01\0\0\0\x02\0\0\0", None]),
        ("U", [b"\0" * 8 + b"\x07" + b"\0" * 7 + b"\x02" + b"\0" * 7, b"a@b.com"]),
        ("U", [None, b"a@b.com"]),
        ("vu", [b"\xff\xff\xff\xff" + b"a@b.com" + b"\0" * 21, b"x", b"\x01" + b"\0" * 7]),
        ("vu", [b"\x14\0\0\0abcd\0\0\0\0\0\0\0\0" * 2, b"x", b"\x01" + b"\0" * 7]),
        ("vu", [b"\x14\0\0\0abcd\x01\0\0\0\0\0\0\0" * 2, b"x" * 40, b"\x28" + b"\0" * 7]),
        ("vu", [b"\x14\0\0\0abcd\0\0\0\0\xff\xff\xff\xff" * 2, b"x" * 40, b"\x28" + b"\0" * 7]),
        ("vu", [b"\0" * 16 + b"\x14\0\0\0abcd\0\0\0\0\x15\0\0\0", b"x" * 40, b"\x28" + b"\0" * 7]),
        ("vu", [None, b"x" * 40, b"\x28" + b"\0" * 7]),
    ],
)
def test_a_damaged_arrow_column_is_refused(kind: str, buffers: list[bytes | None]) -> None:
    column = OneArray(kind, ["", ""])
    column._buffers = lambda *_: buffers  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="is damaged"):
        validate_emails(column)


def test_a_damaged_view_is_refused_wherever_it_is_followed() -> None:
    views = b"\x07\0\0\0a@b.com" + b"\0" * 5 + b"\x14\0\0\0abcd\0\0\0\0\x15\0\0\0"

    def damaged(kind: str, values: list[Any], dictionary: list[Any] | None = None) -> OneArray:
        column = OneArray(kind, values, dictionary=dictionary)
        column.words = "vu"
        buffers = column._buffers
        column._buffers = lambda kind, values: (  # type: ignore[method-assign]
            [views, b"x" * 40, b"\x28" + b"\0" * 7] if kind == "vu" else buffers(kind, values)
        )
        return column

    with pytest.raises(ValueError, match="is damaged"):
        validate_emails(damaged("i", [0], ["", ""]))
    unchecked = AddressColumn(damaged("vu", ["", ""]))
    assert unchecked[0] == b"a@b.com"
    with pytest.raises(ValueError, match="is damaged"):
        unchecked[1]
    with pytest.raises(ValueError, match="is damaged"):
        unchecked.open({}, 0, bytearray([validate_emails([]).reasons.index("email.idn")] * 2))


def test_more_open_addresses_than_are_fetched_at_once() -> None:
    addresses: list[str | None] = [f"josé{i}@b{i % 7}.com" if i % 3 else f"ann{i}@☃.com" for i in range(200)]
    expect(validate_emails(OneArray("vu", addresses)), addresses)
    expect(validate_emails(OneArray("u", addresses)), addresses)


def test_every_length_in_blocks_of_every_size() -> None:
    addresses = [
        f"{'a' * (n % 61 + 1)}{'.' * (n % 17 == 0)}@example{n}.{'com' if n % 11 else 'test'}" for n in range(300)
    ]
    for count in (1, 3, 7, 8, 63, 64, 65, 127, 128, 129, 300):
        expect(validate_emails(OneArray("vu", addresses[:count])), addresses[:count])  # type: ignore[arg-type]


def test_arrow_memory_is_kept_and_given_back() -> None:
    column = ManyArrays("vu", MIXED, MIXED)
    checks = validate_emails(column)
    assert column.released == 0
    assert checks[1].address == MIXED[1]
    del checks
    gc.collect()
    assert column.released == 2


def test_an_arrow_column_is_a_sequence() -> None:
    column = AddressColumn(ManyArrays("u", ["a", None], [], ["b"]))
    assert [len(column), column[0], column[1], column[2]] == [3, b"a", None, b"b"]
    for row in (-1, 3):
        with pytest.raises(IndexError):
            column[row]
    with pytest.raises(ValueError, match="room for 2 verdicts, 3 needed"):
        column.check(0, bytearray(2))
    with pytest.raises(RuntimeError, match="twice"):
        column.__init__(ManyArrays("u"))  # type: ignore[misc]


def test_real_arrow_libraries() -> None:
    """What those hand over that are installed."""
    pyarrow = pytest.importorskip("pyarrow")
    for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        column = pyarrow.array([*MIXED, None], kind)
        expect(validate_emails(column), [*MIXED, None])
        expect(validate_emails(column[3:]), [*MIXED[3:], None])
        expect(validate_emails(pyarrow.chunked_array([column, column])), [*MIXED, None, *MIXED, None])
    expect(validate_emails(pyarrow.array([*MIXED, *MIXED]).dictionary_encode()), [*MIXED, *MIXED])
    with pytest.raises(TypeError, match="pass the one column"):
        validate_emails(pyarrow.table({"email": MIXED}))
