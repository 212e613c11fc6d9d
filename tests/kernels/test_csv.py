"""CsvScanner against a second, slow implementation and against Python's csv module, cut into pieces at random."""

from __future__ import annotations

import csv
import io
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius import _native
from mailgenius._native import Batch, CsvScanner, csv_structure
from tests.kernels.csv_reference import Dialect, Row, reference, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

# Pieces that hostile and ordinary files are made of; the generator strings them together.
PIECES = [
    b",",
    b",",
    b'"',
    b'"',
    b'""',
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"\t",
    b";",
    b"a",
    b"bc",
    b"\0",
    b"\xc3\xa9",
]
LIMITS = [{}, {"max_field": 5}, {"max_row": 9}, {"max_columns": 2}, {"max_field": 7, "max_row": 12, "max_columns": 3}]


@pytest.fixture(params=_native.isas(), autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(before)


def messy(rng: random.Random, size: int) -> bytes:
    weights = [rng.random() ** 2 for _ in PIECES]
    return b"".join(rng.choices(PIECES, weights, k=size))


def lead_file(rng: random.Random, rows: int, end: bytes = b"\n", strange: float = 0.0) -> bytes:
    """Rows such as real exports have: most plain, some quoted with commas, quotes and newlines inside."""
    out = []
    for n in range(rows):
        fields = [
            b"user%d@example.com" % n,
            b"Ana",
            b"S\xc3\xa3o Paulo",
            b"",
            b"%d" % rng.randrange(10**9),
            b"x" * rng.randrange(40),
        ]
        if rng.random() < 0.3:
            fields[1] = (
                b'"'
                + rng.choice([b"Acme, Inc.", b'the ""best""', b"two\nlines", b"", b"a\r\nb", b'""', b"plain"])
                + b'"'
            )
        if rng.random() < strange:
            fields[rng.randrange(6)] = rng.choice([b'5" pipe', b' "a" ', b'"a"b', b"  x  ", b'"', b'"a" b "c"', b"\t"])
        out.append(b",".join(fields) + (rng.choice([b"\n", b"\r\n", b"\r"]) if end == b"mixed" else end))
        if rng.random() < 0.02:
            out.append(end if end != b"mixed" else b"\r")
    data = b"".join(out)
    return data if rng.random() < 0.5 else data.rstrip(b"\r\n")


def cuts(rng: random.Random, size: int) -> list[int]:
    return sorted(rng.randrange(size + 1) for _ in range(rng.randrange(6)))


def python_rows(data: bytes, delimiter: str = ",") -> list[tuple[bytes, ...]]:
    text = io.StringIO(data.decode("latin-1"), newline="")
    return [tuple(f.encode("latin-1") for f in row) for row in csv.reader(text, delimiter=delimiter) if row]


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_equals_the_reference(trim: bool, limits: dict[str, int]) -> None:
    rng = random.Random(f"{trim} {limits}")
    for _ in range(600):
        data = messy(rng, rng.randrange(60))
        d = Dialect(
            trim=trim, delimiter=rng.choice([b",", b"\t", b";"]), quote=rng.choice([b'"', b'"', b"'", b""]), **limits
        )
        data = data.replace(b",", d.delimiter)
        expected = list(reference(data, d))
        assert scan(data, d) == expected, data
        at = cuts(rng, len(data))
        assert scan(data, d, at, max_rows=rng.choice([1, 2, 65536])) == expected, (data, at)


def test_big_file(isa: str) -> None:
    """Many chunks, cut into windows; the same for every instruction set as for the plain one."""
    rng = random.Random(2**20)
    for end in (b"\n", b"\r\n", b"mixed"):
        data = lead_file(rng, 4000, end, 0.001)
        at = sorted({rng.randrange(len(data)) for _ in range(5)})
        got = scan(data, Dialect(), at, max_rows=1000)
        _native.force_isa("scalar")
        assert got == scan(data, Dialect())
        _native.force_isa(isa)
        assert len(got) > 3900


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"mixed"])
@pytest.mark.parametrize("strange", [0.0, 0.05])
def test_long_files_equal_the_reference(end: bytes, strange: float) -> None:
    rng = random.Random(f"{end!r} {strange}")
    for trim in (False, True):
        for limits in ({}, {"max_field": 25}, {"max_columns": 5}, {"max_row": 90}):
            data = lead_file(rng, 120, end, strange)
            d = Dialect(trim=trim, **limits)  # type: ignore[arg-type]
            expected = list(reference(data, d))
            assert scan(data, d) == expected
            assert scan(data, d, cuts(rng, len(data)), max_rows=7) == expected


def test_every_cut_gives_the_same_rows() -> None:
    """A block that ends anywhere: inside a quote, between CR and LF, between two quotes."""
    data = b'a,"b ""x"" y"\r\n\r\n"c\r\nd",e\r\r\nf , "g" ,"h"i\nj,"k'
    for trim in (False, True):
        expected = list(reference(data, Dialect(trim=trim)))
        for cut in range(len(data)):
            for second in range(cut, len(data), 3):
                assert scan(data, Dialect(trim=trim), [cut, second]) == expected


def test_every_offset_in_a_block() -> None:
    """The same records behind 0 to 130 other bytes, so that each byte meets each place in the 64-byte blocks."""
    tail = b'\na,b ,c\nd \r\n"a",b,"c ""d"" e"\r\n"x\r\ny","", y ,z\r"q"\n\n , "s" ,t"u,v \r\n"w'
    for shift in range(131):
        for head in (b"p" * shift, b'"' + b"p" * shift + b'"', b"," * shift):
            data = head + tail
            assert scan(data, Dialect()) == list(reference(data, Dialect())), shift


@pytest.mark.parametrize(
    "odd", [b"b ", b" b", b'"b"', b'"b""c"', b'"b\nc"', b"\t", b'""', b"\r", b"\r\n", b"\n\n", b'x"']
)
def test_one_odd_thing_alone(odd: bytes) -> None:
    """Far from anything else that could make the scanner look closer at the blocks it stands in."""
    for shift in range(56, 140):
        data = b"p" * shift + b",a," + odd + b",c\n" + b"q" * 150 + b"\n" + odd
        assert scan(data, Dialect()) == list(reference(data, Dialect())), shift


def test_equals_python_csv_where_its_dialect_answers() -> None:
    rng = random.Random(4180)
    compared = 0
    for _ in range(1500):
        data = messy(rng, rng.randrange(80))
        rows = scan(data, Dialect(trim=False), cuts(rng, len(data)))
        if all(row.error == "ok" for row in rows):  # Python takes an unclosed quote as closed by the end of the file
            assert [row.fields for row in rows] == python_rows(data), data
            compared += 1
    assert compared > 300


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.text(alphabet='ab",;\r\n \t\0é', max_size=8), min_size=1, max_size=6), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
)
def test_reads_back_what_python_writes(rows: list[list[str]], end: str) -> None:
    rows = [row for row in rows if row != [""]]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    got = scan(out.getvalue().encode(), Dialect())
    assert [row.fields for row in got] == [tuple(field.encode() for field in row) for row in rows]


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b'"abc"def,x', (b"abcdef", b"x")),
        (b'"ab""c"d"e,x', (b'ab"cd"e', b"x")),
        (b'"abc""",x', (b'abc"', b"x")),
        (b'a"b"c,x', (b'a"b"c', b"x")),
        (b' "a b" , x ', (b"a b", b"x")),
        (b' " a " ,x', (b" a ", b"x")),
        (b'"a" b ,x', (b"a b", b"x")),
        (b'"a" "b",x', (b'a "b"', b"x")),
        (b'"","",', (b"", b"", b"")),
        (b"\0,a\0b", (b"\0", b"a\0b")),
        (b'""', (b"",)),
        (b",", (b"", b"")),
        (b"'a',b", (b"'a'", b"b")),
    ],
)
def test_fields(data: bytes, fields: tuple[bytes, ...]) -> None:
    for end in (b"", b"\n", b"\r\n", b"\r"):
        assert scan(data + end, Dialect()) == [Row(1, data, fields)]


def test_lines_are_physical() -> None:
    data = b'a\n\n"b\nb"\r\n\r\n \t\n"c\r\nc\rc"\rd\n'
    assert [(row.line, row.raw) for row in scan(data, Dialect())] == [
        (1, b"a"),
        (3, b'"b\nb"'),
        (7, b'"c\r\nc\rc"'),
        (10, b"d"),
    ]


def test_an_open_quote_costs_its_line_only() -> None:
    data = b'a,b\nc,"d\ne,f\ng,h'
    rows = scan(data, Dialect())
    assert [(row.line, row.raw, row.error, row.column) for row in rows] == [
        (1, b"a,b", "ok", 0),
        (2, b'c,"d', "row.quote_unclosed", 1),
        (3, b"e,f", "ok", 0),
        (4, b"g,h", "ok", 0),
    ]
    late = b'"a\nb",x,"d\ne,f\n' + b"g,h\n" * 50
    rows = scan(late, Dialect(max_field=60))
    assert (rows[0].line, rows[0].raw, rows[0].error, rows[0].column) == (2, b'"a\nb",x,"d', "row.quote_unclosed", 2)
    assert [row.line for row in rows[1:]] == list(range(3, 54))


def test_limits_are_reported_once() -> None:
    long = b"a," + b"x" * 500 + b',"y\ny"\nb,c\n'
    for d, reason, column, raw in [
        (Dialect(max_field=100), "field.too_long", 1, long.split(b"\nb")[0]),
        (Dialect(max_row=100), "row.too_long", 1, long[:100]),
        (Dialect(max_columns=2), "row.too_many_columns", 2, long.split(b"\nb")[0]),
    ]:
        for at in ([], list(range(0, len(long), 7))):
            rows = scan(long, d, at)
            assert [(r.line, r.raw, r.error, r.column) for r in rows] == [
                (1, raw, reason, column),
                (3, b"b,c", "ok", 0),
            ]


def test_a_giant_record_is_skipped_in_little_memory() -> None:
    """64 MiB of one record, given in pieces: the scanner never asks for more than its limit."""
    scanner, batch = CsvScanner(max_field=1 << 12, max_row=1 << 14), Batch()
    buffer, held, errors, rows = b"a,", 0, [], 0
    pieces = [b"x" * 65536] * 512 + [b'",\n"' * 4096] * 1024 + [b"\nb,c\n"]
    for k, piece in enumerate(pieces):
        buffer += piece
        while True:
            used = scanner.scan(batch, buffer, 0, len(buffer), k == len(pieces) - 1)
            errors += [batch.error(i)[0] for i in range(len(batch)) if batch.error(i)[0]]
            rows += len(batch)
            buffer = buffer[used:]
            if used == 0 or not buffer:
                break
        held = max(held, len(buffer))
    assert held <= (1 << 14) + 2
    assert errors[0] == _native.REASONS.index("field.too_long")


def test_hostile_files_take_linear_time() -> None:
    """Lines that, read from inside or outside of a quote alike, open one that stays open: 4 MB would take hours."""
    for line in (b'x",",\n', b'"\n', b'"""\n', b'a,"\n', b'"a\n'):
        data = line * (1 << 19)
        for limits in ({}, {"max_field": 64}, {"max_row": 4096}):
            scanner, batch, start = Dialect(**limits).scanner(), Batch(), 0  # type: ignore[arg-type]
            while start < len(data):
                start += scanner.scan(batch, data, start, len(data), True)


def shape(data: bytes) -> tuple[int, int, bool, bool]:
    """csv_structure, byte by byte: every quote must open behind a boundary and close before one."""
    records, fields, inside, strict, i = 0, 0, False, True, 0
    start, begin = 0, 0  # of the record, of the field
    while i < len(data):
        c = data[i : i + 1]
        if inside:
            if c == b'"' and data[i + 1 : i + 2] == b'"':
                i += 1
            elif c == b'"':
                inside = False
                strict = strict and data[i + 1 : i + 2] in (b"", b",", b"\n", b"\r")
        elif c == b'"':
            strict = strict and i == begin
            inside = True
        elif c == b",":
            fields += 1
            begin = i + 1
        elif c in b"\r\n":
            if i > start:
                records, fields = records + 1, fields + 1
            i += data[i : i + 2] == b"\r\n"
            start = begin = i + 1
        i += 1
    last = start < len(data)
    return records + last, fields + last, strict, inside


def test_structure() -> None:
    rng = random.Random(64)
    compared = 0
    for _ in range(800):
        data = messy(rng, rng.randrange(200)) if rng.random() < 0.5 else lead_file(rng, rng.randrange(40), b"mixed")
        if rng.random() < 0.5:
            data = data.replace(b"\r", b"")
        expected = shape(data)
        got = csv_structure(data)
        assert got[2:] == expected[2:], data
        if got[2]:
            assert got == expected, data
            compared += 1
            if not got[3]:
                rows = scan(data, Dialect(trim=False))
                assert (len(rows), sum(len(row.fields) for row in rows)) == got[:2]
    assert compared > 200
    assert csv_structure(b"a;'b;c'\n", b";", b"'") == (1, 2, True, False)
    assert csv_structure(b'a,"b\n', quote=b"") == (1, 2, True, False)
    assert csv_structure(b"") == (0, 0, True, False)


def test_batch_guards_its_rows() -> None:
    data = bytearray(b"a,b\n")
    batch = Batch()
    CsvScanner().scan(batch, data, 0, 4, True)
    with pytest.raises(BufferError):
        data += b"x"  # the batch reads from it
    for bad in (-1, 1):
        with pytest.raises(IndexError):
            batch.row(bad)
    batch.clear()
    data += b"x"
    assert len(batch) == 0


def test_bad_arguments_are_refused() -> None:
    for bad in (
        {"delimiter": b""},
        {"delimiter": b'"'},
        {"delimiter": b"\n"},
        {"quote": b"ab"},
        {"max_field": 0},
        {"max_row": 1 << 31},
    ):
        with pytest.raises(ValueError, match="must be"):
            CsvScanner(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outside"):
        CsvScanner().scan(Batch(), b"abc", 2, 4, True)
    with pytest.raises(TypeError):
        CsvScanner().scan(Batch(), "abc", 0, 1, True)  # type: ignore[arg-type]
