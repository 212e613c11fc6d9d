"""envelope.pxi: what is damaged, or another key's, is seen; opening many at once gives what opening each gives."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgenius._native import LocalStore, Unsealer, seal, unseal

NOW = 1000.0
HEAD = 40
MISSING = object()
NAMES = st.text(max_size=40)
# Around the lengths from which on, and by which, the checksum goes on in another way.
SIZES = [*range(20), *range(60, 70), *range(120, 200), *range(1000, 1030)]


def payload(size: int) -> bytes:
    return bytes((7 * n + n // 256) % 251 for n in range(size))


@pytest.mark.parametrize(("size", "checksum"), [(5, "24db04afbaddc25e"), (200, "18888d8e795a6cf0")])
def test_every_build_writes_the_same(size: int, checksum: str) -> None:
    data = seal("lead:1", payload(size), 1, 2, 3, 4.0, 5.0, 6.0, 7)
    head = "c1 01 01 02 03000000 00093d0000000000 88130000 808d5b00 0700000000000000"
    assert data == bytes.fromhex(head + checksum) + payload(size)


@pytest.mark.parametrize("size", SIZES)
def test_any_bit_of_damage(size: int) -> None:
    data = seal("lead:1", payload(size), 0, 0, 0, 1.0, 1.0)
    assert unseal("lead:1", data) == (payload(size), 0, 0, 0, 1.0, 1.0, 0.0, 0)
    damaged = bytearray(data)
    step = 1 if size < 200 else 5
    for bit in range(16, 8 * len(data), step):  # after mark and format
        damaged[bit // 8] ^= 1 << bit % 8
        assert unseal("lead:1", bytes(damaged)) == 3
        damaged[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("unit", [1, 2, 4, 8, 16, 32, 64])
def test_parts_that_changed_places(unit: int) -> None:
    data = seal("lead:1", payload(512), 0, 0, 0, 1.0, 1.0)
    for one in range(HEAD, HEAD + 512, unit):
        for other in range(one + unit, HEAD + 512, max(unit, 16)):
            parts = data[one : one + unit], data[other : other + unit]
            if parts[0] == parts[1]:
                continue
            changed = bytearray(data)
            changed[one : one + unit], changed[other : other + unit] = parts[1], parts[0]
            assert unseal("lead:1", bytes(changed)) == 3


@given(NAMES, NAMES, st.sampled_from(SIZES))
def test_another_names(name: str, other: str, size: int) -> None:
    found = unseal(other, seal(name, payload(size), 0, 0, 0, 1.0, 1.0))
    assert found == ((payload(size), 0, 0, 0, 1.0, 1.0, 0.0, 0) if name == other else 3)


def test_lengths() -> None:
    for size in SIZES:
        data = seal("k", bytes(size), 0, 0, 0, 1.0, 1.0)
        assert unseal("k", data + b"\0") == 3
        assert unseal("k", data[:-1]) == 3


@st.composite
def replies(draw: st.DrawFn) -> tuple[str, Any]:
    """A name, and what a server might say is there."""
    name = draw(NAMES)
    data: Any = draw(st.none() | st.binary(max_size=60) | st.just(7))
    if draw(st.booleans()):
        data = seal(
            name if draw(st.integers(0, 9)) else draw(NAMES),
            msgspec.msgpack.encode(draw(st.integers(0, 300) | st.text(max_size=200))),
            draw(st.sampled_from([0, 0, 0, 1, 2, 4])),
            draw(st.sampled_from([1, 1, 1, 2])),
            draw(st.sampled_from([5, 5, 5, 6])),
            draw(st.sampled_from([0.0, 990.0, 999.0, 1000.0, 1010.0])),
            draw(st.sampled_from([0.0, 0.5, 1.0, 10.0, 1e9])),
        )
    return name, data


def by_hand(name: str, data: Any) -> tuple[Any, float] | None:
    """A value as most are, and how long it is fresh. None: another one."""
    read = unseal(name, data) if type(data) is bytes else 0
    if isinstance(read, int) or read[1:4] != (0, 1, 5):
        return None
    made, fresh = read[4:6]
    left = made + fresh - NOW if made < NOW else fresh
    if left <= 0:  # it is not decoded
        return None, left
    try:
        return msgspec.msgpack.decode(read[0], type=int), left
    except msgspec.ValidationError:
        return None


@given(st.lists(replies(), max_size=20, unique_by=lambda item: item[0]), st.sampled_from([0.25, 5.0, float("inf")]))
def test_many_are_as_each(items: list[tuple[str, Any]], most: float) -> None:
    unsealer = Unsealer(1, 5, msgspec.msgpack.Decoder(int).decode)
    store, each = (LocalStore(1 << 20, clock=lambda: NOW) for _ in range(2))
    names, data = [name for name, _ in items], [data for _, data in items]
    keys = list(range(len(items)))
    found: dict[int, Any] = {}
    others: list[int] = []
    at = 0
    while True:
        at = unsealer.many(keys, names, data, at, NOW, found, store, store.begin(), most, 3.0)
        if at == len(items):
            break
        others.append(at)
        at += 1
    for key, (name, reply) in enumerate(items):
        wanted = by_hand(name, reply)
        value = unsealer.one(name, reply, NOW, MISSING, each, each.begin(), most, 3.0)
        if wanted is None or wanted[1] <= 0:
            assert value is MISSING
            assert key not in found
            assert store.look(name) is None
        else:
            assert value == found[key] == wanted[0]
            kept = store.look(name)
            assert kept == each.look(name)
            assert kept is not None
            assert kept[0] == wanted[0]
            assert kept[1:] == pytest.approx((min(wanted[1], most), wanted[1] + 3.0))
        assert (key in others) == (reply is not None and wanted is None)
    assert list(found) == sorted(found)


def test_what_changed_meanwhile_is_not_kept() -> None:
    unsealer, store = Unsealer(0, 0, None), LocalStore(1 << 20)
    names = ["a", "b", "c"]
    data = [seal(name, name.encode(), 0, 0, 0, NOW, 60.0) for name in names]
    ticket = store.begin()
    store.pop("b")
    found: dict[str, bytes] = {}
    assert unsealer.many(names, names, data, 0, NOW, found, store, ticket) == 3
    assert found == {"a": b"a", "b": b"b", "c": b"c"}
    assert [store.get(name) for name in names] == [b"a", None, b"c"]


def test_bad_arguments() -> None:
    unsealer = Unsealer(0, 0, None)
    found: dict[str, Any] = {}
    for keys, names, at in ((["k"], [], 0), ([], ["n"], 0), (["k"], ["n"], 0), ([], [], -1)):
        with pytest.raises(ValueError, match="replies from"):
            unsealer.many(keys, names, [], at, NOW, found)
    with pytest.raises(TypeError):
        unsealer.many(["k"], [1], [b""], 0, NOW, found)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="decode is a function"):
        Unsealer(0, 0, "decode")  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 20), max_size=40), st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_taking_many_of_a_local_store(asked: list[int], there: set[int], stale: set[int]) -> None:
    now = [NOW]
    store, other = (LocalStore(1 << 20, clock=lambda: now[0]) for _ in range(2))
    for one in (store, other):
        for key in there:
            one.put(f"n{key}", key if key % 3 else None, 10, 1.0 if key in stale else 9.0, 3.0)
    now[0] += 2
    found: dict[int, Any] = {0: "is overwritten"} if 0 in there - stale and 0 in asked else {}
    keys, names = store.take(asked, [f"n{key}" for key in asked], found)
    values = {key: other.get(f"n{key}", MISSING) for key in asked}
    assert found == {key: value for key, value in values.items() if value is not MISSING}
    assert keys == [key for key in asked if values[key] is MISSING]
    assert names == [f"n{key}" for key in keys]
    with pytest.raises(ValueError, match="2 keys, 1 names"):
        store.take([1, 2], ["n1"], {})
