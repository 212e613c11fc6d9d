"""seen.c: equal to a dict of first occurrences, small, and not to be slowed down by chosen keys."""

import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius import EmailSet

KEYS = st.one_of(
    st.binary(max_size=30),
    st.tuples(st.text("ab@", max_size=4), st.sampled_from(["@x.com", "@", "", "@y.example", "@@x.com"])).map("".join),
    st.text(st.characters(codec="utf-8"), max_size=20),
)


def raw(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def as_buffers(keys: list[bytes]) -> tuple[np.ndarray, bytes]:
    offsets = np.zeros(len(keys) + 1, dtype=np.int64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    return offsets, b"".join(keys)


@settings(max_examples=300)
@given(st.lists(st.lists(KEYS, max_size=80), max_size=4), st.integers(0, 3))
def test_first_occurrences(batches: list[list[str | bytes]], how: int) -> None:
    seen, first, number = EmailSet(), {}, 0
    for batch in batches:
        expected = []
        for key in batch:
            expected.append(first.setdefault(raw(key), number))
            number += 1
        if how == 0:
            got = seen.add_many(batch)
        elif how == 1:
            got = seen.add_many(as_buffers([raw(key) for key in batch]))
        else:
            for key in batch:
                new = raw(key) not in seen
                assert seen.add(key) is new
            got = seen.add_many(batch)
            number += len(batch)
        assert got.dtype == np.uint32
        assert got.tolist() == expected
    assert len(seen) == len(first)
    for key in first:
        assert key in seen
        assert key + b"!" not in seen or key + b"!" in first


def test_a_million() -> None:
    numbers = np.random.default_rng(1).permutation(1_200_000) % 1_000_000
    keys = [f"user.{i}@d{i % 3001}.example" for i in numbers.tolist()]
    seen = EmailSet()
    first: dict[str, int] = {}
    expected = [first.setdefault(key, i) for i, key in enumerate(keys)]
    got = np.concatenate([seen.add_many(keys[i : i + 100_000]) for i in range(0, len(keys), 100_000)])
    assert got.tolist() == expected
    assert len(seen) == 1_000_000
    assert seen.nbytes <= 32 * len(seen)
    assert all(key in seen for key in keys[::97])
    assert not any(key.replace("user", "User") in seen for key in keys[::97])


@pytest.mark.parametrize("expected", [0, 200_000])
def test_memory_of_typical_addresses(expected: int) -> None:
    """22 bytes on average, few domains, at every size on the way. (30 at 10 million: benchmarks/kernels/seen.py.)"""
    rng = random.Random(4)
    domains = [f"@mail{i}.com" for i in range(50)]
    seen = EmailSet(expected)
    for _ in range(10):
        seen.add_many([f"{rng.randrange(16**11):012x}"[:12] + rng.choice(domains) for _ in range(20_000)])
        if len(seen) >= expected:
            assert seen.nbytes <= 38 * len(seen), len(seen)


def test_more_domains_than_are_numbered() -> None:
    keys = [f"a@{i}.example" for i in range(150_000)]
    seen = EmailSet()
    assert seen.add_many(keys).tolist() == list(range(150_000))
    assert seen.add_many(keys).tolist() == list(range(150_000))
    assert "a@150000.example" not in seen
    assert "a@149999.example" in seen
    assert "b@149999.example" not in seen
    assert not seen.add("a@3.example")


def test_keys_at_the_limit() -> None:
    seen = EmailSet()
    long = ["x" * 65535, "x" * 65534 + "@", "@" + "x" * 65534, "x" * 30000 + "@" + "y" * 35534]
    assert seen.add_many(long).tolist() == [0, 1, 2, 3]
    for key in long:
        assert key in seen
        with pytest.raises(ValueError, match="65,535"):
            seen.add(key + "x")
        with pytest.raises(ValueError, match="65,535"):
            seen.add_many(["new", key + "x"])
    with pytest.raises(ValueError, match="65,535"):
        seen.add_many(as_buffers([b"new", b"x" * 65536]))
    assert "new" not in seen
    assert len(seen) == 4


def test_segments_are_filled_and_left() -> None:
    """Long keys, so that entries meet the ends of segments; growth walks over all of them."""
    seen = EmailSet()
    keys = [b"%d" % i * (1 + 997 * i % 3000) for i in range(3000)]
    assert seen.add_many(keys).tolist() == list(range(3000))
    assert seen.add_many(keys).tolist() == list(range(3000))


@pytest.mark.alone
def test_keys_that_collide_in_naive_hashes_are_not_slow() -> None:
    """Bytes that cancel out in hashes without a secret, zeros of all lengths, one bit of difference."""
    hostile = [bytes(i) for i in range(3000)]
    hostile += [i.to_bytes(8, "little") + (2**64 - 1 - i).to_bytes(8, "little") for i in range(40_000)]
    hostile += [(i << 32).to_bytes(16, "big") + b"@x.com" for i in range(40_000)]
    hostile += [b"a@" + (1 << i).to_bytes(64, "little") for i in range(512)]
    ordinary = [b"user%d@x.com" % i for i in range(len(hostile))]

    def seconds(keys: list[bytes]) -> float:
        times = []
        for _ in range(3):
            seen = EmailSet()
            begin = time.perf_counter()
            seen.add_many(keys)
            times.append(time.perf_counter() - begin)
            assert len(seen) == len(set(keys))
        return min(times)

    assert seconds(hostile) < 20 * seconds(ordinary) + 0.05


def test_what_is_refused() -> None:
    seen = EmailSet()
    for bad in (1, None, bytearray(b"a@x.com"), ["a"]):
        with pytest.raises(TypeError):
            seen.add(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            bad in seen  # type: ignore[operator]  # noqa: B015
        with pytest.raises(TypeError):
            seen.add_many(["new", bad])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="takes one"):
        seen.add_many("a@x.com")
    with pytest.raises(UnicodeEncodeError):
        seen.add_many(["new", "\ud800"])
    offsets, data = as_buffers([b"new", b"a@x.com"])
    for wrong in (offsets - 1, offsets + 1, offsets[::-1].copy(), offsets[:0]):
        with pytest.raises(ValueError, match=r"offset|rise"):
            seen.add_many((wrong, data))
    with pytest.raises(TypeError, match="int64"):
        seen.add_many((offsets.astype(np.int32), data))
    with pytest.raises(TypeError, match="int64"):
        seen.add_many((offsets.astype(np.float64), data))
    assert len(seen) == 0
    assert seen.add_many([]).tolist() == []
    assert seen.add_many((np.zeros(1, dtype=np.int64), b"")).tolist() == []
    assert seen.add_many((offsets[1:], data)).size == 1


def test_threads_share_a_set() -> None:
    seen = EmailSet()
    keys = [f"user{i}@x.example" for i in range(40_000)]
    firsts: list[np.ndarray] = []

    def work(order: list[str]) -> None:
        firsts.extend([seen.add_many(order[i : i + 1000]) for i in range(0, len(order), 1000)])

    threads = [threading.Thread(target=work, args=(order,)) for order in (keys, keys[::-1], sorted(keys))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(keys)
    numbers = np.unique(np.concatenate(firsts))
    assert numbers.size == len(keys)


OUT_OF_MEMORY = """
import resource
from mailgenius import EmailSet
import numpy
seen, added = EmailSet(), 0
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + (48 << 20), -1))
try:
    for added in range(0, 10**8, 10_000):
        seen.add_many([f"user{i}@example.com" for i in range(added, added + 10_000)])
except MemoryError:
    pass
else:
    raise SystemExit("memory never ran out")
kept = len(seen)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert 200_000 < added <= kept <= added + 10_000, (added, kept)
assert all(f"user{i}@example.com" in seen for i in range(0, added, 7))
again = [f"user{i}@example.com" for i in range(added + 20_000)]
assert seen.add_many(again)[:added].tolist() == list(range(added))
assert len(seen) == added + 20_000
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_set_survives_running_out_of_memory() -> None:
    subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], check=True)


def test_a_set_says_no_to_what_it_cannot_hold() -> None:
    with pytest.raises(OverflowError):
        EmailSet(-1)
