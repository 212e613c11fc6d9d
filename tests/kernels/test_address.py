"""The address kernel: every instruction set says what the scalar judge says, and touches nothing it should not."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import random
from array import array
from typing import TYPE_CHECKING

import pytest

from mailgenius import _native
from mailgenius._native import (
    ALLOW_QUOTED,
    ALLOW_SPECIAL_USE,
    REASONS,
    address_check,
    address_list,
    address_normalize,
    address_offsets,
    address_offsets32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ISAS = _native.isas()
OPTIONS = (0, ALLOW_QUOTED, ALLOW_SPECIAL_USE, ALLOW_QUOTED | ALLOW_SPECIAL_USE)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(before)


def by_judge(addresses: list[bytes], options: int) -> list[tuple[int, int, bytes | None]]:
    before = _native.isa()
    _native.force_isa("scalar")
    try:
        return [address_check(address, options) for address in addresses]
    finally:
        _native.force_isa(before)


def made_up(seed: int, count: int) -> list[bytes]:
    """Addresses good, nearly good and wild, of all lengths around the vectors' sizes."""
    rnd = random.Random(seed)
    noise = b'ab@.-Z9_"\\ ()<>[]:;,\x00\x7f\x80\xffxn--'
    tops = b"com br info museum test TEST arpa local localhost LOCALHOST invalid onion 1 42 c0 0c xtest a-local".split()

    def label(longest: int) -> bytes:
        return bytes(rnd.choice(b"abcXYZ019-") for _ in range(rnd.randrange(1, longest)))

    made = []
    for _ in range(count):
        kind = rnd.random()
        if kind < 0.15:
            made.append(bytes(rnd.choice(noise) for _ in range(rnd.randrange(80))))
        elif kind < 0.2:
            made.append(rnd.randbytes(rnd.randrange(300)))
        else:
            local = bytes(rnd.choice(b"abc.XYZ+_'{}~019-") for _ in range(rnd.randrange(1, rnd.choice([8, 30, 70]))))
            labels = [label(rnd.choice([5, 20, 66])) for _ in range(rnd.randrange(1, 4))]
            address = bytearray(local + b"@" + b".".join([*labels, rnd.choice(tops)]))
            for _ in range(rnd.choice([0, 0, 0, 1, 2])):
                address[rnd.randrange(len(address))] = rnd.choice(noise)
            made.append(bytes(address))
    return made


@pytest.mark.parametrize("options", OPTIONS)
def test_all_entries_agree_with_the_judge(isa: str, options: int) -> None:
    addresses = made_up(options, 4000)
    expected = by_judge(addresses, options)
    verdicts = bytes(reason for reason, _, _ in expected)
    assert 500 < verdicts.count(0) < 3500, "the mix is no test"
    assert [address_check(address, options) for address in addresses] == expected
    data = b"".join(addresses)
    ends = list(itertools.accumulate(map(len, addresses), initial=0))
    for code, entry in (("q", address_offsets), ("i", address_offsets32)):
        reasons, norm = bytearray(len(addresses)), bytearray(len(data))
        entry(data, array(code, ends), options, reasons, norm)
        assert reasons == verdicts
        for i, (_, _, normalized) in enumerate(expected):
            assert normalized is None or norm[ends[i] : ends[i + 1]] == normalized
        reasons = bytearray(len(addresses))
        entry(data, array(code, ends), options, reasons)
        assert reasons == verdicts
    reasons = bytearray(len(addresses))
    address_list(addresses, options, reasons)
    assert reasons == verdicts


def test_every_byte_at_every_place(isa: str) -> None:
    """One byte of a good address replaced by each of the 256, at lengths on both sides of each vector size."""
    for length in (8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65):
        good = b"u" * (length - 7) + b"@" + b"h.info"
        spoiled = [good[:i] + bytes([b]) + good[i + 1 :] for i in range(length) for b in range(256)]
        expected = by_judge(spoiled, 0)
        reasons = bytearray(len(spoiled))
        address_list(spoiled, 0, reasons)
        assert reasons == bytes(reason for reason, _, _ in expected)
        assert [address_check(address) for address in spoiled] == expected


class Guarded:
    """Memory that ends where the next page cannot be read: one byte too far is a crash."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, 3 * mmap.PAGESIZE)
        self.hold = (ctypes.c_char * len(self.map)).from_buffer(self.map)
        self.libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, 2):
            self.protect(page, 0)

    def protect(self, page: int, how: int) -> None:
        start = ctypes.c_void_p(ctypes.addressof(self.hold) + page * mmap.PAGESIZE)
        if self.libc.mprotect(start, ctypes.c_size_t(mmap.PAGESIZE), how) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def at_end(self, data: bytes) -> memoryview:
        stop = 2 * mmap.PAGESIZE
        view = memoryview(self.map)[stop - len(data) : stop]
        view[:] = data
        return view

    def at_start(self, data: bytes) -> memoryview:
        view = memoryview(self.map)[mmap.PAGESIZE : mmap.PAGESIZE + len(data)]
        view[:] = data
        return view


def test_nothing_outside_is_read_or_written(isa: str) -> None:
    guarded, room = Guarded(), Guarded()
    for length in range(5, 260):
        address = b"A" * max(1, min(64, length - 6)) + b"@b"
        address += b".c" * ((length - len(address)) // 2) + b"d" * ((length - len(address)) % 2)
        assert len(address) == length
        expected = by_judge([address], 0)[0]
        for place in (guarded.at_end, guarded.at_start):
            assert address_check(place(address)) == expected
    addresses = [address for address in made_up(7, 400) if len(address) < 100][:60]
    data = b"".join(addresses)
    assert len(data) < mmap.PAGESIZE
    ends = array("q", itertools.accumulate(map(len, addresses), initial=0))
    verdicts = bytes(reason for reason, _, _ in by_judge(addresses, 0))
    for first in range(len(addresses)):  # each of them is once the last but few
        offsets = array("q", [end - ends[first] for end in ends[first:]])
        norm = room.at_end(bytes(len(data) - ends[first]))
        reasons = bytearray(len(offsets) - 1)
        address_offsets(guarded.at_end(data[ends[first] :]), offsets, 0, reasons, norm)
        assert reasons == verdicts[first:]


def test_offsets_need_not_start_at_zero(isa: str) -> None:
    data = b"junk@@" + b"ann@example.com" + b"bob@example"
    reasons = bytearray(2)
    address_offsets32(data, array("i", [6, 21, 32]), 0, reasons)
    assert [REASONS[number] for number in reasons] == ["ok", "email.domain_no_dot"]


@pytest.mark.parametrize(
    ("offsets", "complaint"),
    [([0, 99], "inside the data"), ([5, 2], "must rise"), ([-1, 3], "must rise"), ([], "one more than")],
)
def test_offsets_are_checked(offsets: list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        address_offsets(b"a@b.com", array("q", offsets), 0, bytearray(8))


def test_room_is_checked() -> None:
    with pytest.raises(ValueError, match="room for 1 verdicts, 2 needed"):
        address_offsets(b"a@b.com", array("q", [0, 7, 7]), 0, bytearray(1))
    with pytest.raises(ValueError, match="room for 6 verdicts, 7 needed"):
        address_offsets(b"a@b.com", array("q", [0, 7]), 0, bytearray(1), bytearray(6))
    with pytest.raises(ValueError, match="room for 0 verdicts, 1 needed"):
        address_list(["a@b.com"], 0, bytearray())
    with pytest.raises((TypeError, BufferError)):
        address_list(["a@b.com"], 0, b"1")


def test_lists_hold_str_bytes_or_none(isa: str) -> None:
    addresses = [
        "ann@example.com",
        b"ann@example.com",
        None,
        "",
        b"",
        float("nan"),
        "josé@example.com",
        "x" * 10_000_000,
    ]
    reasons = bytearray(len(addresses))
    address_list(addresses, 0, reasons)
    assert [REASONS[number] for number in reasons] == [
        "ok", "ok", "email.empty", "email.empty", "email.empty", "email.empty", "email.idn", "email.too_long",
    ]  # fmt: skip
    with pytest.raises(TypeError, match="address 1 is int"):
        address_list(["ann@example.com", 1], 0, bytearray(2))


def test_where_the_fault_is() -> None:
    for address, reason, at in (
        (b"ann", "email.no_at", 2),
        (b"an\x01n@b.com", "email.control", 2),
        (b"a@b@c", "email.two_ats", 3),
        (b"a..b@c.de", "email.local_dot", 2),
        (b"a,b@c.de", "email.local_char", 1),
        (b"a" * 65 + b"@c.de", "email.local_too_long", 64),
        (b"a@b_c.de", "email.domain_char", 3),
        (b"a@b-.de", "email.domain_hyphen", 3),
        (b"a@b.c.", "email.domain_dot", 5),
        (b"a@b.test", "email.domain_special_use", 4),
        (b"a@b.12", "email.domain_tld_numeric", 4),
        (b"a@" + b"l" * 64 + b".de", "email.domain_label_too_long", 65),
    ):
        assert address_check(address) == (REASONS.index(reason), at, None), address


def test_normalize_makes_a_str_or_a_number() -> None:
    assert address_normalize("Ann@Example.com") == "ann@example.com"
    assert address_normalize("Ann") == REASONS.index("email.no_at")
    assert address_normalize("jos\u00e9@example.com") == REASONS.index("email.idn")
    assert address_normalize("") == REASONS.index("email.empty")
