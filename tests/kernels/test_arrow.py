"""Tables behind the Arrow PyCapsule interface become rows: every type against Python, slices, damage, release."""

import csv
import gc
import io
import math
import random
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from mailgenius import _native
from tests.kernels.lead_records import ATTRIBUTES, EMAIL, Problem, decode, problems

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")


def batches(table: Any) -> Iterator[_native.Batch]:
    reader, batch = _native.ArrowReader(table), _native.Batch()
    while reader.next(batch):
        yield batch


def read(table: Any) -> list[list[str]]:
    rows, line = [], 1
    for batch in batches(table):
        for i in range(len(batch)):
            assert batch.line(i) == line
            line += 1
            assert batch.error(i) == (0, 0)
            row = [value.decode("utf-8", "surrogateescape") for value in batch.row(i)]
            raw = batch.raw(i).decode("utf-8", "surrogateescape")
            assert next(csv.reader(io.StringIO(raw, newline=""), strict=True), [""]) == row
            rows.append(row)
    return rows


def column(array: Any) -> list[str]:
    return [row[0] for row in read(pa.table({"x": array}))]


TEXTS = [
    "",
    "a",
    "twelve bytes",
    "thirteen bytes",
    "x" * 100,
    'say "hi"',
    "a,b",
    "é😀",
    " padded ",
    "\t",
    "line\r\nbreak",
    None,
    "\0",
]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "binary", "large_binary", "binary_view"])
def test_text(kind: str) -> None:
    values = TEXTS if "string" in kind else [None if t is None else t.encode() for t in TEXTS]
    array = pa.array(values, getattr(pa, kind)())
    wanted = [t or "" for t in TEXTS]
    assert column(array) == wanted
    for start in (1, 5, 12):
        assert column(array.slice(start)) == wanted[start:]
    if "binary" in kind:
        assert column(pa.array([b"\xff\xfe"], array.type)) == ["\udcff\udcfe"]


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers(bits: int) -> None:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    values = [0, 1, -1, None, low, high, 42]
    assert column(pa.array(values, getattr(pa, f"int{bits}")())) == ["" if v is None else str(v) for v in values]
    values = [0, 1, None, 2 * high + 1, 10 ** (bits // 4)]
    assert column(pa.array(values, getattr(pa, f"uint{bits}")())) == ["" if v is None else str(v) for v in values]


def test_floats() -> None:
    rng = random.Random(3)
    values = [struct.unpack("d", rng.randbytes(8))[0] for _ in range(3000)]
    values += [0.1, 1.5, 1e15, 123456789012345.0, 1e16, 1e300, 5e-324, math.inf, -math.inf, -0.0, 5.0]
    wanted = ["" if math.isnan(v) else repr(v).removesuffix(".0") for v in values]
    assert column(pa.array([*values, None])) == [*wanted, ""]
    assert column(pa.array([5511999999999.0, None, math.nan])) == ["5511999999999", "", ""]


def test_small_floats_have_few_digits() -> None:
    assert column(pa.array([0.1, 1.5, 16777216, 1e7, 3.4028235e38, None, math.nan], pa.float32())) == [
        "0.1", "1.5", "16777216", "10000000", "3.4028235e+38", "", "",
    ]  # fmt: skip
    assert column(pa.array([0.1, -2.5, 1024.0, 6e-8, None], pa.float16())) == ["0.1", "-2.5", "1024", "6e-08", ""]
    rng = random.Random(4)
    singles = [v for _ in range(3000) if (v := struct.unpack("f", rng.randbytes(4))[0]) == v]
    for text, value in zip(column(pa.array(singles, pa.float32())), singles, strict=True):
        assert struct.pack("f", float(text)) == struct.pack("f", value)


def test_booleans_and_nulls() -> None:
    values = [True, False, None] * 10
    array = pa.array(values)
    wanted = ["" if v is None else str(v).lower() for v in values]
    assert column(array) == wanted
    assert column(array.slice(9, 17)) == wanted[9:26]
    assert column(pa.nulls(3)) == ["", "", ""]


def test_days() -> None:
    rng = random.Random(5)
    values = [date.fromordinal(rng.randrange(1, date.max.toordinal())) for _ in range(2000)]
    values += [date.min, date.max, date(1970, 1, 1), date(2000, 2, 29), date(1600, 3, 1)]
    for kind in (pa.date32(), pa.date64()):
        assert column(pa.array([*values, None], kind)) == [*[v.isoformat() for v in values], ""]
    far = pa.array([-(2**31), 2**31 - 1], pa.int32()).view(pa.date32())
    assert column(far) == ["-5877641-06-23", "+5881580-07-11"]


@pytest.mark.parametrize(("unit", "size"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_times(unit: str, size: int) -> None:
    rng = random.Random(size)
    reach = 10**18 // 10**9 * size * (20 if unit != "ns" else 9)
    for zone in (None, "UTC", "America/Sao_Paulo"):
        values = [rng.randrange(-reach, reach) for _ in range(500)] + [0, -1, 86400 * size - 1]
        array = pa.array([*values, None], pa.int64()).view(pa.timestamp(unit, zone))
        got = column(array)
        assert got.pop() == ""
        for text, value in zip(got, values, strict=True):
            micros, nanos = divmod(value * (10**9 // size), 1000)
            when = datetime(1970, 1, 1) + timedelta(microseconds=micros)
            wanted = when.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
            if (
                digits := {"s": "", "ms": f"{when.microsecond // 1000:03}", "us": f"{when.microsecond:06}"}.get(
                    unit, f"{when.microsecond:06}{nanos:03}"
                ).rstrip("0" if value % size == 0 else "")
            ):
                wanted += f".{digits}"
            assert text == wanted + ("Z" if zone else "")
            if 1 <= when.year <= 9999:
                assert _native.parse_timestamp(text.encode()) == (when - datetime(2000, 1, 1)) // timedelta(
                    microseconds=1
                )
    assert column(pa.array([-(2**63), 2**63 - 1]).view(pa.timestamp(unit)))


@pytest.mark.parametrize("index", ["int8", "uint8", "int32", "uint32", "int64"])
def test_dictionaries(index: str) -> None:
    indices = pa.array([0, 2, None, 1, 0], getattr(pa, index)())
    assert column(pa.DictionaryArray.from_arrays(indices, ["x", "y", None])) == ["x", "", "", "y", "x"]
    assert column(pa.DictionaryArray.from_arrays(indices, pa.array([7, 8, 9]))) == ["7", "9", "", "8", "7"]


def test_lists_are_joined() -> None:
    values = [["a", "b"], [], None, ["x"], ["a", None, ""], ["say,", '"q"']]
    wanted = ["a;b", "", "", "x", "a;;", 'say,;"q"']
    for kind in (
        pa.list_(pa.string()),
        pa.large_list(pa.string_view()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ):
        array = pa.array(values, kind)
        assert column(array) == wanted
        assert column(array.slice(3)) == wanted[3:]
    assert column(pa.array([[1, 2]], pa.list_(pa.int64()))) == ["1;2"]


def test_polars() -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", None, "thirteen bytes"],
            "day": [date(2024, 1, 2), None, date(1, 1, 1)],
            "when": [datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), None, None],
            "tags": [["x", "y"], [], None],
            "flag": [True, None, False],
            "kind": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "nothing": [None, None, None],
            "score": [1, None, 3],
            "rate": [0.5, math.nan, None],
        }
    )
    assert _native.ArrowReader(frame).names == frame.columns
    wanted = [
        ["a", "2024-01-02", "2024-01-02T03:04:05Z", "x;y", "true", "u", "", "1", "0.5"],
        ["", "", "", "", "", "v", "", "", ""],
        ["thirteen bytes", "0001-01-01", "", "", "false", "u", "", "3", ""],
    ]
    assert read(frame) == wanted
    assert read(frame.slice(1)) == wanted[1:]
    assert read(pl.concat([frame, frame], rechunk=False)) == wanted * 2
    with pytest.raises(TypeError, match="single Arrow column"):
        _native.ArrowReader(frame["text"])


def test_pyarrow_tables_chunks_and_slices() -> None:
    one = pa.table({"a": ["1", "2", "3"], "b": [1.5, None, 3.0]})
    table = pa.concat_tables([one, one.slice(1), one.slice(0, 0), one.slice(2, 1)])
    wanted = [["1", "1.5"], ["2", ""], ["3", "3"]]
    wanted = wanted + wanted[1:] + wanted[2:]
    assert read(table) == wanted
    assert read(table.to_batches()[1]) == wanted[3:5]
    assert read(table.to_reader()) == wanted
    assert read(table.slice(0, 0)) == []
    assert read(pa.table({})) == []


def test_a_table_of_structs_with_null_rows() -> None:
    array = pa.array([{"a": "x", "b": 1.5}, None, {"a": None, "b": 2.0}, {"a": "y", "b": None}])
    wanted = [["x", "1.5"], ["", ""], ["", "2"], ["y", ""]]
    assert read(array) == wanted
    assert read(array.slice(1)) == wanted[1:]
    assert read(array.slice(1, 2)) == wanted[1:3]


def test_many_rows_come_in_batches() -> None:
    n = 200_001
    table = pa.table({"e": [f"u{i}@example.com" for i in range(n)], "f": [i / 8 for i in range(n)]})
    sizes, seen = [], 0
    for batch in batches(table):
        sizes.append(len(batch))
        for i in (0, len(batch) - 1):
            k = seen + i
            assert batch.row(i) == [f"u{k}@example.com".encode(), repr(k / 8).removesuffix(".0").encode()]
            assert batch.line(i) == k + 1
        seen += len(batch)
    assert sizes == [65536, 65536, 65536, n - 3 * 65536]


def test_large_rows_make_small_batches() -> None:
    table = pa.table({"x": ["y" * 1_000_000] * 100})
    assert sum(sizes := [len(batch) for batch in batches(table)]) == 100
    assert max(sizes) <= 34


def test_limits_end_in_a_row_with_an_error() -> None:
    mib = 1 << 20
    table = pa.table(
        {"a": ["x", "y", "z"], "b": ["q" * mib, "q" * (mib + 1), "r"], "c": [["t" * mib], ["t"], ["t" * mib, ""]]}
    )
    batch = next(batches(table))
    number = _native.REASONS.index("field.too_long")
    assert [batch.error(i) for i in range(3)] == [(0, 0), (number, 1), (number, 2)]
    assert [len(batch.row(i)) for i in range(3)] == [3, 0, 0]
    assert batch.raw(2) == b"z,r,"
    wide = pa.table({f"c{i}": ["w" * mib, "w"] for i in range(17)})
    batch = next(batches(wide))
    assert [batch.error(i) for i in range(2)] == [(_native.REASONS.index("row.too_long"), 15), (0, 0)]


def test_rows_become_records() -> None:
    table = pa.table(
        {
            "email": ["Ana@Example.com ", "nobody", "joe@example.com"],
            "first_name": ["Ana", "B", ' J"o"e, ' * 3],
            "tags": [["vip", "new"], None, [" a ", "a"]],
            "score": pa.array([5, 6, None], pa.float64()),
            "created": pa.array([datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=2))), None, None]),
            "plan": ["gold", "x", 'a"b'],
        }
    )
    batch = next(batches(table))
    plan = _native.Plan([0, 1, 7, 10, 11, -1], [254] * 6, table.column_names)
    records = _native.Records()
    records.encode(plan, batch)
    assert decode(records.tobytes()) == [
        {
            "line": 1, "email": "ana@example.com", "first_name": "Ana", "tags": ["vip", "new"], "score": 5,
            "created_at": datetime(2024, 1, 1, 22, tzinfo=UTC), "attributes": {"plan": "gold"},
        },
        {
            "line": 3, "email": "joe@example.com", "first_name": (' J"o"e, ' * 3).strip(), "tags": ["a"],
            "attributes": {"plan": 'a"b'},
        },
    ]  # fmt: skip
    assert problems(records) == [Problem(1, 0, "email.no_at", 5)]
    assert (EMAIL, ATTRIBUTES) == (0, 8)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pa.array([Decimal("1.5")]), r"column 'x' has the Arrow type decimal \(d:2,1\)"),
        (pa.array([time(1)]), "time of day"),
        (pa.array([timedelta(1)]), "duration"),
        (pa.array([{"a": 1}]), "struct"),
        (pa.array([[["a"]]]), "list of list"),
        (pa.array([[1.5]]), "list of float64"),
        (pa.array([[1]], pa.list_(pa.int8(), 1)), "fixed-size list"),
        (pa.array([b"ab"], pa.binary(2)), "fixed-size binary"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), "map"),
        (pa.array([1.5, 2.5]).dictionary_encode(), "dictionary of float64"),
        (pa.RunEndEncodedArray.from_arrays([1], ["a"]), "run-end encoded"),
    ],
)
def test_other_types_are_named(array: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"{message}.*cast it") as error:
        _native.ArrowReader(pa.table({"fine": pa.nulls(len(array)), "x": array}))
    assert "column 'x'" in str(error.value)


def test_what_is_no_table() -> None:
    with pytest.raises(TypeError, match="str has neither __arrow_c_stream__ nor"):
        _native.ArrowReader("leads.csv")
    with pytest.raises(TypeError, match="single Arrow column"):
        _native.ArrowReader(pa.array(["a"]))
    with pytest.raises(TypeError, match="single Arrow column"):
        _native.ArrowReader(pa.chunked_array([["a"]]))
    with pytest.raises(TypeError, match="5000 columns"):
        _native.ArrowReader(pa.table({str(i): [1] for i in range(5000)}))


def test_a_stream_that_fails() -> None:
    schema = pa.schema({"x": pa.string()})

    def produce() -> Iterator[Any]:
        yield pa.record_batch({"x": ["a"] * 70000}, schema)
        raise ValueError("the disk is on fire")

    reader, batch = _native.ArrowReader(pa.RecordBatchReader.from_batches(schema, produce())), _native.Batch()
    assert reader.next(batch)
    with pytest.raises(OSError, match="the disk is on fire"):
        reader.next(batch)
    assert len(batch) == 0
    assert not reader.next(batch)


@pytest.mark.parametrize("offsets", [[0, 5, 3], [0, -4, 2], [2, 1, 3], [0, 1 << 30, 6]])
@pytest.mark.parametrize("large", [False, True])
def test_offsets_that_point_nowhere(offsets: list[int], large: bool) -> None:
    packed = pa.py_buffer(struct.pack("=3q" if large else "=3i", *offsets))
    kind = pa.large_string() if large else pa.string()
    with pytest.raises(ValueError, match="damaged"):
        column(pa.Array.from_buffers(kind, 2, [None, packed, pa.py_buffer(b"abcdef")]))


@pytest.mark.parametrize("view", [(13, 1, 0), (13, -1, 0), (13, 0, 4), (13, 0, -1), (-1, 0, 0)])
def test_views_that_point_nowhere(view: tuple[int, int, int]) -> None:
    size, which, at = view
    views = pa.py_buffer(struct.pack("=i4sii", size, b"abcd", which, at))
    with pytest.raises(ValueError, match="damaged"):
        column(pa.Array.from_buffers(pa.string_view(), 1, [None, views, pa.py_buffer(b"abcdefghijklmnop")]))


@pytest.mark.parametrize("index", [3, 100, -1])
def test_indices_that_point_nowhere(index: int) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    indices = pa.array([index], pa.int8())
    with pytest.raises(ValueError, match="damaged"):
        column(pa.DictionaryArray.from_buffers(kind, 1, indices.buffers(), pa.array(["a", "b", "c"])))


# ---- ownership ----


def test_everything_is_released() -> None:
    gc.collect()
    before = pa.total_allocated_bytes()
    table = pa.table({"x": pa.array([f"{i:05}" for i in range(30000)]), "y": pa.array(range(30000))})
    assert pa.total_allocated_bytes() > before
    done, begun, unread = (
        _native.ArrowReader(table),
        _native.ArrowReader(table.to_batches()[0]),
        _native.ArrowReader(table),
    )
    batch, other = _native.Batch(), _native.Batch()
    while done.next(batch):
        pass
    begun.next(other)
    failed = pa.table({"x": table["x"], "y": pa.array([time(1)] * 30000)})
    with pytest.raises(TypeError):
        _native.ArrowReader(failed)
    del table, done, begun, unread, failed
    gc.collect()
    assert pa.total_allocated_bytes() == before
    assert other.row(7) == [b"00007", b"7"]


def test_a_stream_is_read_once() -> None:
    table = pa.table({"x": ["a"]})

    class Once:
        capsule = table.__arrow_c_stream__()

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self.capsule

    assert read(Once()) == [["a"]]
    with pytest.raises(ValueError, match="read before"):
        _native.ArrowReader(Once())
