"""envelope.pxi: what is damaged, or another key's, is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgenius._native import seal, unseal

HEAD = 40
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
