"""sort.c: the order is Python's order of (e-mail bytes, line), whatever the keys look like."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import Sorted, block_key
from tests.kernels.sort_records import blocks, parse, record, records

# Long common beginnings, endings that are beginnings of others, NULs, bytes above 127.
KEYS = st.one_of(
    st.binary(max_size=40),
    st.text("ab", max_size=30).map(str.encode),
    st.text("\0a", max_size=20).map(str.encode),
    st.tuples(st.sampled_from([b"maria.silva", b"maria.silva.santos", b"jo\xc3\xa3o"]), st.binary(max_size=12)).map(
        b"".join
    ),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(KEYS, st.integers(0, 2**64 - 1)), max_size=200), st.integers(1, 2000))
def test_orders_as_python_does(rows: list[tuple[bytes, int]], size: int) -> None:
    ordered = Sorted(records(rows))
    assert len(ordered) == len(rows)
    made = list(blocks(ordered, size))
    assert parse(b"".join(made)) == sorted(rows)
    for block in made:
        assert len(block) <= size or len(parse(block)) == 1
        assert block_key(block) == parse(block)[0][0]
    assert ordered.next_block() is None


@pytest.mark.parametrize("count", [0, 1, 2, 24, 25, 33, 1000, 40000])
def test_sizes_between_the_methods(count: int) -> None:
    rng = random.Random(count)
    names, surnames = [b"maria", b"john", b"m"], [b"silva", b"smith"]
    rows = [(b"%b.%b%d@x.co" % (rng.choice(names), rng.choice(surnames), rng.randrange(500)), i) for i in range(count)]
    rng.shuffle(rows)
    assert parse(b"".join(blocks(Sorted(records(rows))))) == sorted(rows)


def test_many_equal_keys_are_in_the_order_of_lines() -> None:
    lines = list(range(5000))
    random.Random(1).shuffle(lines)
    rows = [(b"same@example.com", line) for line in lines] + [(b"same@example.com\0", 9), (b"same@example.co", 9)]
    assert parse(b"".join(blocks(Sorted(records(rows))))) == sorted(rows)


def test_long_keys() -> None:
    rows = [(b"x" * n + bytes([n % 7]), n) for n in (65534, 65533, 65534, 300, 299, 8, 7, 16)]
    assert parse(b"".join(blocks(Sorted(records(rows)), 100))) == sorted(rows)


def test_the_other_fields_come_along() -> None:
    rest = [bytes([i]) * i for i in range(11)]
    both = [record(b"b@x.example", 1, rest), record(b"a@x.example", 2)]
    assert Sorted(b"".join(both)).next_block() == both[1] + both[0]


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        record(b"a@x.example", 1)[:-1],
        record(b"a@x.example", 1) + b"\0\0\0\0",
        struct.pack("=IQi", 0, 1, 0),  # a size that leads nowhere
        struct.pack("=IQ", 16, 1) + struct.pack(">i", 1),  # a key behind the end of its record
        struct.pack("=IQ", 16, 1) + struct.pack(">i", -1),  # no e-mail
        struct.pack("=IQ", 2**32 - 1, 1) + struct.pack(">i", 0),
        struct.pack("=IQ", 16 + 65536, 1) + struct.pack(">i", 65536) + b"x" * 65536,
    ],
)
def test_damaged_records_are_refused(data: bytes) -> None:
    with pytest.raises(RuntimeError, match="damaged"):
        Sorted(data)
    if data[:4] != record(b"a@x.example", 1)[:4] or len(data) < 60:
        with pytest.raises(RuntimeError, match="damaged"):
            block_key(data)


def test_an_empty_block_has_no_key() -> None:
    with pytest.raises(RuntimeError):
        block_key(b"")


def test_records_changed_after_sorting_are_noticed() -> None:
    data = bytearray(records([(b"b@x.example", 1), (b"a@x.example", 2)]))
    ordered = Sorted(data)
    data[:] = b"\xff" * len(data)
    with pytest.raises(RuntimeError, match="changed"):
        ordered.next_block()


def test_sorts_once() -> None:
    ordered = Sorted(records([(b"a@x.example", 1)]))
    with pytest.raises(RuntimeError):
        ordered.__init__(b"")  # type: ignore[misc]
    with pytest.raises(TypeError):
        Sorted(None)  # type: ignore[arg-type]
