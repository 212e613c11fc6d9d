"""utf8_valid and transcode against Python's own codecs, on every instruction set."""

from __future__ import annotations

import codecs
import random
from typing import TYPE_CHECKING

import pytest

from mailgenius import _native
from mailgenius._native import transcode, utf8_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

# Characters at the edges of their lengths, and what only looks like UTF-8.
EDGES = "az\0\x7f\x80\u07ff\u0800\u0fff\u1000\ud7ff\ue000\uffff\U00010000\U0003ffff\U00040000\U0010ffff"
GOOD = [c.encode() for c in EDGES]
FAULTS = """80 bf c0 c1 c080 c1bf e08080 e09fbf eda080 edbfbf f0808080 f08fbfbf f4908080 f5808080 fe ff
c3 e2 e282 f09f f09f98 c328 e28228 f09f9828 e2c3a9"""
BAD = [bytes.fromhex(h) for h in FAULTS.split()]


@pytest.fixture(params=_native.isas(), autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(before)


def valid(data: bytes) -> int:
    """What Python thinks; an incomplete character at the end is not part of the prefix either."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def test_every_two_and_three_bytes() -> None:
    tail = b"x" * 130
    edges = sorted({b for s in GOOD + BAD for b in s} | set(bytes.fromhex("7f8f909fa0c2dfeceeeff1f3")))
    for a in edges:
        for b in edges:
            head = bytes([97, a, b])
            assert utf8_valid(b"pad" + head + tail) == valid(b"pad" + head + tail), head
            for c in edges[::3]:
                data = b"pad" + bytes([a, b, c]) + tail
                assert utf8_valid(data) == valid(data), data


def test_faults_at_every_place_of_a_block() -> None:
    for shift in range(140):
        for bad in BAD:
            data = b"y" * shift + "é".encode() + bad + b"z" * 70
            assert utf8_valid(data) == valid(data), (shift, bad)
            assert utf8_valid(data[: shift + 2 + len(bad)]) == valid(data[: shift + 2 + len(bad)]), (shift, bad)


def test_random_text() -> None:
    rng = random.Random(3629)
    for _ in range(1500):
        parts = rng.choices(GOOD, k=rng.randrange(300))
        for _ in range(rng.randrange(3)):
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(BAD))
        data = b"".join(parts)
        assert utf8_valid(data) == valid(data), data
        ascii_runs = b"".join(p * rng.choice([1, 90]) if len(p) == 1 else p for p in parts)
        assert utf8_valid(ascii_runs) == valid(ascii_runs)


def test_buffers_of_all_kinds() -> None:
    data = "naïve".encode() * 50
    assert utf8_valid(bytearray(data)) == utf8_valid(memoryview(data)) == len(data)
    assert utf8_valid(b"") == 0
    with pytest.raises(TypeError):
        utf8_valid("str")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_single_byte_encodings(encoding: str) -> None:
    rng = random.Random(encoding)
    every = bytes(range(256))
    for _ in range(200):
        data = bytes(rng.choice(every[: rng.choice([128, 256])]) for _ in range(rng.randrange(200)))
        expected = b"".join(expected_byte(b, encoding) for b in data)
        assert transcode(data, encoding, False) == (expected, len(data))
    assert transcode(b"\x80" * 5000, encoding, True)[0] == expected_byte(0x80, encoding) * 5000


def expected_byte(b: int, encoding: str) -> bytes:
    try:
        return bytes([b]).decode(encoding).encode()
    except UnicodeDecodeError:
        return b"\xff"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16(encoding: str) -> None:
    rng = random.Random(encoding)
    high, low = "\ud83d".encode(encoding, "surrogatepass"), "\ude00".encode(encoding, "surrogatepass")
    text = [b.decode() for b in GOOD] + ["plain ascii"] * 5
    for _ in range(300):
        parts = rng.choices(text, k=rng.randrange(60))
        whole = "".join(parts)
        data = whole.encode(encoding)
        assert transcode(data, encoding, True) == (whole.encode(), len(data))
        cut = rng.randrange(len(data) + 1)  # a stream in two pieces
        first, used = transcode(data[:cut], encoding, False)
        second, rest = transcode(data[used:], encoding, True)
        assert (first + second, used + rest) == (whole.encode(), len(data))
    a = "a".encode(encoding)
    assert transcode(low + a + high + a + high + low, encoding, True) == (b"\xffa\xffa" + "\U0001f600".encode(), 12)
    assert transcode(a + high, encoding, False) == (b"a", 2)
    assert transcode(a + high, encoding, True) == (b"a\xff", 4)
    assert transcode(a + a[:1], encoding, False) == (b"a", 2)
    assert transcode(a + a[:1], encoding, True) == (b"a\xff", 3)
    assert transcode("€".encode(encoding) * 5000, encoding, True)[0] == "€".encode() * 5000


def test_what_becomes_ff_is_found_by_the_check() -> None:
    made, _ = transcode(b"ok \x81 bad", "cp1252", True)
    assert utf8_valid(made) == 3
    assert codecs.lookup("cp1252").name == "cp1252"


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match="encoding must be"):
        transcode(b"", "utf-32", True)
