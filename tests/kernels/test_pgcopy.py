"""pgcopy.c: the bytes are those of the PostgreSQL manual, written here a second time. (tests/rooms reads them back.)"""

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgenius._native import Chunk, Merge
from tests.kernels.sort_records import FIELDS, field, record

ALL = (1 << FIELDS) - 1
Lead = list[bytes | None]


def chunk_of(leads: list[Lead]) -> Chunk:
    merged, chunk = Merge(1), Chunk()
    if leads:
        merged.feed(0, b"".join(record(lead[0] or b"", i, lead[1:]) for i, lead in enumerate(leads)))
        assert merged.next(chunk) == 0
    merged.feed(0, None)
    assert merged.next(chunk) == -1
    assert len(chunk) == len(leads)
    return chunk


def text_array(values: list[bytes]) -> bytes:
    shape = struct.pack(">iiiii", 1, 0, 25, len(values), 1) if values else struct.pack(">iii", 0, 0, 25)
    return shape + b"".join(map(field, values))


def leads_of(values: list[list[bytes | None]]) -> list[Lead]:
    return [[b"%06d@example.com" % i, *value] for i, value in enumerate(values)]


LEADS = st.lists(st.lists(st.none() | st.binary(max_size=9), min_size=11, max_size=11), max_size=12).map(leads_of)


@given(
    LEADS,
    st.integers(0, ALL),
    st.lists(st.none() | st.binary(max_size=5), min_size=FIELDS, max_size=FIELDS),
    st.sampled_from([1, 100, 1 << 20]),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_tuples(leads, fields, fill, max_bytes, rng, masked) -> None:
    chunk = chunk_of(leads)
    mask = bytes(rng.randrange(3) for _ in leads) if masked else None
    head = field(b"\0\0\0\7") + field(None)
    defaults = [b"" if value is None else field(value) for value in fill]
    pieces = list(chunk.copy(mask, 1, fields, head, 2, defaults, max_bytes))
    tuples = []
    for i, lead in enumerate(leads):
        if mask is not None and mask[i] != 1:
            continue
        sent = [j for j in range(FIELDS) if fields >> j & 1]
        values = [field(fill[j] if lead[j] is None else lead[j]) for j in sent]
        tuples.append(struct.pack(">h", 2 + len(sent)) + head + b"".join(values))
    assert b"".join(pieces) == b"".join(tuples)
    assert all(piece for piece in pieces)
    if max_bytes == 1:
        assert pieces == tuples
    keys = [lead[0] or b"" for i, lead in enumerate(leads) if mask is None or mask[i] == 1]
    assert chunk.keys(mask, 1) == text_array(keys)


def test_pieces_are_about_as_large_as_asked() -> None:
    chunk = chunk_of(leads_of([[b"x" * 50] * 11 for _ in range(1000)]))
    pieces = list(chunk.copy(None, 0, ALL, b"", 0, (), 10000))
    assert len(pieces) > 10
    assert all(9000 < len(piece) <= 10000 for piece in pieces[:-1])


def test_masks() -> None:
    chunk = chunk_of(leads_of([[None] * 11 for _ in range(3)]))
    one = chunk.keys(b"\1\0\0", 1)
    assert one == chunk.keys(bytearray(b"\1\0\0"), 1) == chunk.keys(np.array([True, False, False]), 1)
    assert one == chunk.keys(np.array([9, 5, 5], dtype=np.uint8), 9)
    assert chunk.keys() == chunk.keys(b"\0\0\0")
    for bad in (b"", b"\0\0", b"\0\0\0\0", np.zeros(3, dtype=np.int32)):
        with pytest.raises(ValueError, match="mask"):
            chunk.keys(bad, 1)
        with pytest.raises(ValueError, match="mask"):
            chunk.copy(bad, 1, ALL, b"", 0)
    with pytest.raises(TypeError):
        chunk.keys("abc", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_mark_finds_the_keys_of_an_answer_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    names = sorted({bytes(rng.choices(b"ab@.", k=rng.randrange(6))) for _ in range(200)})
    chunk = chunk_of(leads_of([[name] + [None] * 11 for name in names if rng.random() < 0.7]))
    there = [chunk.key(i) for i in range(len(chunk))]
    asked = [name for name in names if rng.random() < 0.5] + ([b"zz", b""] if seed % 3 == 0 else [])
    if seed % 2:
        rng.shuffle(asked)
    mask = bytearray(len(chunk))
    chunk.mark(text_array(asked), mask, 7)
    assert mask == bytes(7 * (name in set(asked)) for name in there)


def test_mark_takes_nothing_but_an_array_of_text() -> None:
    chunk = chunk_of(leads_of([[b"a@b.co"] + [None] * 11]))
    mask = bytearray(1)
    chunk.mark(text_array([]), mask, 1)
    assert mask == b"\0"
    whole = text_array([b"a@b.co", b"c@d.co"])
    null = struct.pack(">iiiii", 1, 1, 25, 1, 1) + field(None)
    for bad in (
        b"",
        whole[:-1],
        whole[:19],
        whole[:30],
        whole + b"\0",
        null,
        struct.pack(">iii", 2, 0, 25) + b"\0" * 8,
    ):
        with pytest.raises(ValueError, match="text"):
            chunk.mark(bad, mask, 1)
    with pytest.raises(ValueError, match="mask"):
        chunk.mark(whole, bytearray(2), 1)
    with pytest.raises(BufferError):
        chunk.mark(whole, b"\0", 1)


def test_arguments_are_checked_at_once() -> None:
    chunk = chunk_of(leads_of([[None] * 11]))
    with pytest.raises(ValueError, match="bits beyond"):
        chunk.copy(None, 0, 1 << FIELDS, b"", 0)
    with pytest.raises(ValueError, match="defaults"):
        chunk.copy(None, 0, ALL, b"", 0, [b""])
    with pytest.raises(ValueError, match="default 3"):
        chunk.copy(None, 0, ALL, b"", 0, [b"", b"", b"", b"\0\0\0\2x"] + [b""] * 8)


def test_a_chunk_that_changes_is_noticed() -> None:
    chunk = chunk_of(leads_of([[None] * 11 for _ in range(3)]))
    pieces = chunk.copy(None, 0, ALL, b"", 0, (), 1)
    next(pieces)
    chunk.clear()
    with pytest.raises(RuntimeError, match="changed"):
        next(pieces)


def test_records_with_other_fields_are_refused() -> None:
    for rest in ([None] * 10, [None] * 12, []):
        merged, chunk = Merge(1), Chunk()
        merged.feed(0, record(b"a@x.example", 1, rest))
        merged.next(chunk)
        with pytest.raises(RuntimeError, match="damaged"):
            list(chunk.copy(None, 0, ALL, b"", 0))
    damaged = bytearray(record(b"a@x.example", 1))
    damaged[16 + 11 : 16 + 15] = struct.pack(">i", 1000)
    merged, chunk = Merge(1), Chunk()
    merged.feed(0, damaged)
    merged.next(chunk)
    with pytest.raises(RuntimeError, match="damaged"):
        list(chunk.copy(None, 0, ALL, b"", 0))
