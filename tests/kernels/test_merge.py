"""merge.c: distinct keys in order, every duplicate named once with the lowest line as its first, however it is cut."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import Chunk, Merge, Sorted
from tests.kernels.sort_records import blocks, merge, record, records

Row = tuple[bytes, int]
KEYS = st.one_of(
    st.text("ab", max_size=7).map(str.encode),
    st.text("\0a", max_size=12).map(str.encode),
    st.tuples(st.sampled_from([b"maria.silva", b"maria.silva12"]), st.binary(max_size=7)).map(b"".join),
)


def expected(rows: list[Row], lo: bytes | None, hi: bytes | None) -> tuple[list[Row], list[tuple[int, int, bytes]]]:
    kept: dict[bytes, int] = {}
    duplicates = []
    for key, line in sorted(rows):
        if (lo is None or key > lo) and (hi is None or key <= hi):
            if key in kept:
                duplicates.append((line, kept[key], key))
            else:
                kept[key] = line
    return list(kept.items()), duplicates


def spread(rows: list[Row], inputs: int, size: int) -> list[Iterator[bytes]]:
    """Row i goes to input i modulo the number of inputs; each is sorted and cut into blocks."""
    return [blocks(Sorted(records(rows[i::inputs])), size) for i in range(inputs)]


def collect(chunks: Iterator[Chunk]) -> tuple[list[Row], list[tuple[int, int, bytes]]]:
    kept: list[Row] = []
    duplicates: list[tuple[int, int, bytes]] = []
    for chunk in chunks:
        here = [(chunk.key(i), chunk.line(i)) for i in range(len(chunk))]
        # a duplicate is in the chunk of its first
        assert {(first, key) for _, first, key in chunk.duplicates()} <= {(line, key) for key, line in here}
        assert len(chunk.duplicates()) == chunk.duplicate_count
        kept += here
        duplicates += chunk.duplicates()
    return kept, duplicates


@settings(max_examples=400)
@given(
    st.lists(KEYS, max_size=120),
    st.integers(1, 9),
    st.sampled_from([1, 200, 100000]),
    st.sampled_from([(1, 1 << 25), (3, 1 << 25), (50000, 1), (50000, 300), (50000, 1 << 25)]),
    st.one_of(st.none(), KEYS),
    st.one_of(st.none(), KEYS),
    st.randoms(use_true_random=False),
)
def test_agrees_with_a_dict(
    keys: list[bytes],
    inputs: int,
    size: int,
    limits: tuple[int, int],
    lo: bytes | None,
    hi: bytes | None,
    rng: random.Random,
) -> None:
    lines = rng.sample(range(1, 10**6), len(keys))
    rows = list(zip(keys, lines, strict=True))
    assert collect(merge(spread(rows, inputs, size), lo, hi, *limits)) == expected(rows, lo, hi)


@pytest.mark.parametrize("inputs", [1, 2, 5, 8, 25])
def test_many_equal_keys_over_many_inputs(inputs: int) -> None:
    rng = random.Random(inputs)
    rows = [(b"%d@example.com" % rng.randrange(40), line) for line in range(3000)]
    rng.shuffle(rows)
    for size, most in ((1, 1), (300, 7), (100000, 50000)):
        assert collect(merge(spread(rows, inputs, size), max_records=most)) == expected(rows, None, None)


def test_chunks_keep_to_their_limits() -> None:
    rows = [(b"%06d@example.com" % i, i) for i in range(1000)]
    one = len(record(*rows[0]))
    assert [len(c) for c in merge(spread(rows, 3, 500), max_records=300)] == [300, 300, 300, 100]
    assert [len(c) for c in merge(spread(rows, 3, 500), max_bytes=400 * one + 5)] == [400, 400, 200]
    for chunk in merge(spread(rows, 3, 500), max_bytes=1):
        assert (len(chunk), chunk.nbytes) == (1, one)


def test_ranges_next_to_each_other_lose_nothing() -> None:
    rng = random.Random(3)
    rows = [(b"%03d" % rng.randrange(600), line) for line in range(2000)]
    bounds = [None, b"0", b"1", b"199", b"200", b"4", b"zzz", None]
    parts = [collect(merge(spread(rows, 4, 400), lo, hi)) for lo, hi in pairwise(bounds)]
    assert [row for kept, _ in parts for row in kept] == expected(rows, None, None)[0]
    assert [row for _, dups in parts for row in dups] == expected(rows, None, None)[1]


def test_an_upper_bound_ends_the_merge_without_reading_on() -> None:
    ordered = list(blocks(Sorted(records([(b"%04d" % i, i) for i in range(1000)])), 1000))
    fed = iter(ordered)
    assert sum(len(chunk) for chunk in merge([fed], hi=b"0009")) == 10
    assert sum(1 for _ in fed) > len(ordered) - 3


def test_nothing_to_merge() -> None:
    chunk = Chunk()
    assert Merge(0).next(chunk) == -1
    assert Merge(0, b"a", b"b").next(chunk) == -1
    assert list(merge([iter([]), iter([b"", b""])])) == []


def test_inputs_must_be_sorted() -> None:
    for rows in (
        [(b"b", 1), (b"a", 2)],
        [(b"ab", 1), (b"a", 2)],
        [(b"a", 2), (b"a", 1)],
        [(b"a", 1), (b"a\0\0", 1), (b"a\0", 1)],
    ):
        for cut in ([records(rows)], [records([row]) for row in rows]):
            with pytest.raises(RuntimeError, match="damaged"):
                collect(merge([iter(cut), iter([records([(b"a", 5)])])]))


def test_damage_is_refused_again_and_again() -> None:
    merged, chunk = Merge(1), Chunk()
    assert merged.next(chunk) == 0
    merged.feed(0, record(b"a", 1) + b"\1\2\3")
    for _ in range(3):
        with pytest.raises(RuntimeError, match="damaged"):
            merged.next(chunk)
    assert [chunk.key(i) for i in range(len(chunk))] == [b"a"]


def test_random_bytes_are_refused_or_merged() -> None:
    rng = random.Random(5)
    good = records([(b"a%d" % i, i) for i in range(9)])
    for _ in range(2000):
        damaged = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            for chunk in merge([iter([bytes(damaged)]), iter([good])]):
                for piece in chunk.copy(None, 0, 0xFFF, b"", 0):
                    assert piece
                chunk.keys()
        except RuntimeError as e:
            assert "damaged" in str(e)  # noqa: PT017


def test_feeding_rules() -> None:
    merged, chunk = Merge(2), Chunk()
    with pytest.raises(IndexError):
        merged.feed(2, None)
    with pytest.raises(IndexError):
        merged.feed(-1, None)
    merged.feed(1, None)
    with pytest.raises(ValueError, match="at its end"):
        merged.feed(1, b"")
    merged.feed(0, record(b"a", 1))
    with pytest.raises(ValueError, match="still has"):
        merged.feed(0, None)
    assert merged.next(chunk) == 0
    with pytest.raises(ValueError, match="go on with it"):
        merged.next(Chunk())
    chunk.clear()
    with pytest.raises(ValueError, match="go on with it"):
        merged.next(chunk)
    with pytest.raises(ValueError, match="65,535"):
        Merge(1, b"x" * 65536)
    with pytest.raises(OverflowError):
        Merge(-1)


def test_a_block_is_held_while_it_is_read() -> None:
    block = bytearray(records([(b"a", 1), (b"b", 2)]))
    merged, chunk = Merge(1), Chunk()
    merged.feed(0, block)
    with pytest.raises(BufferError):
        block.clear()
    assert merged.next(chunk) == 0
    merged.feed(0, None)
    block.clear()
    assert merged.next(chunk) == -1
    assert [chunk.key(0), chunk.key(1)] == [b"a", b"b"]


def test_chunk_bounds() -> None:
    chunk = Chunk()
    for i in (-1, 0, 1):
        with pytest.raises(IndexError):
            chunk.key(i)
        with pytest.raises(IndexError):
            chunk.line(i)


def test_duplicates_in_parts() -> None:
    rows = [(b"a", line) for line in range(100)]
    for chunk in merge(spread(rows, 3, 1000)):
        everything = chunk.duplicates()
        assert everything == [(line, 0, b"a") for line in range(1, 100)]
        assert [d for start in range(0, 120, 7) for d in chunk.duplicates(start, start + 7)] == everything


def test_a_list_of_duplicates_has_an_end() -> None:
    """One address over and over: the list is drained as it fills, and the chunk still ends behind the last of them."""
    same = record(b"a@example.com", 1)
    merged, chunk = Merge(1), Chunk()
    merged.feed(0, same * 600_000 + record(b"b@example.com", 2))
    listed = []
    while (answer := merged.next(chunk, 1)) == -3:
        listed.append(len(chunk.duplicates()))
        assert chunk.duplicates(0, 1) == [(1, 1, b"a@example.com")]
        chunk.drop_duplicates()
    assert answer == -2
    assert (len(chunk), chunk.key(0)) == (1, b"a@example.com")
    assert sum(listed) + len(chunk.duplicates()) == chunk.duplicate_count == 599_999
    chunk.clear()
    assert merged.next(chunk, 1) == 0
    merged.feed(0, None)
    assert merged.next(chunk, 1) == -1
    assert (chunk.key(0), chunk.duplicate_count) == (b"b@example.com", 0)


def test_two_merges_share_blocks() -> None:
    rng = random.Random(11)
    rows = [(b"%05d@example.com" % rng.randrange(20000), line) for line in range(40000)]
    runs = [list(blocks(Sorted(records(rows[i::4])), 4096)) for i in range(4)]
    cut = b"1"

    def lane(lo: bytes | None, hi: bytes | None) -> tuple[list[Row], list[tuple[int, int, bytes]]]:
        return collect(merge([iter(run) for run in runs], lo, hi, 700))

    with ThreadPoolExecutor(2) as pool:
        low, high = pool.submit(lane, None, cut), pool.submit(lane, cut, None)
        kept, duplicates = (a + b for a, b in zip(low.result(), high.result(), strict=True))
    assert (kept, duplicates) == expected(rows, None, None)
