"""RESP as servers send it: against hiredis' reader, in any number of pieces, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sized
from itertools import pairwise
from typing import Any

import hiredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgenius._native import RespReader, pack_commands
from mailgenius.errors import RedisRefused
from mailgenius.link.replies import NOT_YET, Push, reader

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(str.encode)
BLOBS = st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"$3\r\nabc\r\n", b"x" * 70_000]))
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)


def blob(kind: bytes, data: bytes) -> bytes:
    return b"%b%d\r\n%b\r\n" % (kind, len(data), data)


def line(kind: bytes, data: bytes) -> bytes:
    return b"%b%b\r\n" % (kind, data)


SCALARS = st.one_of(
    BLOBS.map(lambda data: blob(b"$", data)),
    LINES.map(lambda data: line(b"+", data)),
    LINES.map(lambda data: line(b"-", data)),
    BLOBS.map(lambda data: blob(b"=", b"txt:" + data)),
    NUMBERS.map(lambda number: line(b":", b"%d" % number)),
    st.integers().map(lambda number: line(b"(", b"%d" % number)),
    st.floats(allow_nan=False).map(lambda number: line(b",", repr(number).encode())),
    st.sampled_from([b"_\r\n", b"$-1\r\n", b"*-1\r\n", b"#t\r\n", b"#f\r\n", b"*0\r\n", b"~0\r\n", b"%0\r\n"]),
)


def arrays(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    many = st.lists(inner, max_size=5)
    return st.one_of(*(many.map(lambda of, kind=kind: head(kind, of) + b"".join(of)) for kind in (b"*", b"~")))


def maps(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    pairs = st.dictionaries(LINES, inner, max_size=4)  # of a key that is there twice hiredis makes None
    return pairs.map(lambda of: head(b"%", of) + b"".join(line(b"+", key) + value for key, value in of.items()))


def head(kind: bytes, of: Sized) -> bytes:
    return b"%b%d\r\n" % (kind, len(of))


REPLIES = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), maps(inner)), max_leaves=12)
PUSHES = st.lists(SCALARS, min_size=1, max_size=4).map(lambda of: head(b">", of) + b"".join(of))
STREAMS = st.lists(st.one_of(REPLIES, PUSHES), min_size=1, max_size=6)
ARRAYS = st.lists(st.recursive(SCALARS, arrays, max_leaves=12), min_size=1, max_size=6)


def all_of(source: Any, data: bytes, cuts: list[int]) -> list[Any]:
    """What a reader gives for bytes that come in pieces."""
    found = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in pairwise(edges):
        source.feed(data[begin:end])
        while (reply := source.gets()) is not NOT_YET:
            found.append(reply)
    return found


def plain(value: Any) -> Any:
    """Comparable: with types, errors as their text."""
    if isinstance(value, RedisRefused):
        return "error", str(value)
    if isinstance(value, dict):
        return "map", [(key, plain(one)) for key, one in value.items()]
    if isinstance(value, list):
        kind = "push" if isinstance(value, Push | hiredis.PushNotification) else "list"
        return kind, [plain(one) for one in value]
    return type(value), value


@given(STREAMS, st.lists(st.integers(0, 1 << 20), max_size=8))
@example([b"*1\r\n" * 100 + b":1\r\n"], [])
def test_as_hiredis_does(stream: list[bytes], cuts: list[int]) -> None:
    data = b"".join(stream)
    theirs = hiredis.Reader(replyError=RedisRefused, notEnoughData=NOT_YET)
    wanted = list(map(plain, all_of(theirs, data, [])))
    assert len(wanted) == len(stream)
    assert list(map(plain, all_of(reader(), data, cuts))) == wanted


@given(st.binary(max_size=60), ARRAYS, st.integers(0, 1 << 20))
def test_damage_gives_no_other_values_than_hiredis(rubbish: bytes, stream: list[bytes], at: int) -> None:
    """What both read before they refuse something, is the same."""
    data = b"".join(stream)
    at %= len(data) + 1
    data = data[:at] + rubbish + data[at + len(rubbish) :]
    theirs = hiredis.Reader(replyError=RedisRefused, notEnoughData=NOT_YET)
    if b"|" not in rubbish:  # attributes, which hiredis hands out as if they were replies
        pairs = list(zip(until_refused(reader(), data), until_refused(theirs, data), strict=False))
        assert repr([ours for ours, _ in pairs]) == repr([other for _, other in pairs])


def until_refused(source: Any, data: bytes) -> list[Any]:
    found = []
    source.feed(data)
    try:
        while (reply := source.gets()) is not NOT_YET:
            found.append(plain(reply))
    except (ValueError, TypeError, hiredis.ProtocolError):
        pass
    return found


def test_commands_are_arrays_too() -> None:
    words = [tuple(f"{n}-{m}" for m in range(n + 1)) for n in range(50)]
    assert all_of(reader(), pack_commands(words), []) == [[word.encode() for word in some] for some in words]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"$3\r\nabcd\r\n", "does not end where it should"),
        (b"$3\r\nabcX", "does not end where it should"),
        (b"$3\r\nabc\r\r", "does not end where it should"),
        (b"$03\r\nabc\r\n", "a length"),
        (b"$+3\r\nabc\r\n", "a length"),
        (b"$-2\r\n", "out of range"),
        (b"$4294967297\r\n", "out of range"),
        (b"$99999999999999999999", "a length"),
        (b"$3\nabc\r\n", "a length"),
        (b"$?\r\n", "a length"),
        (b"!-1\r\n", "out of range"),
        (b"=3\r\nabc\r\n", "without its kind"),
        (b"*-2\r\n", "out of range"),
        (b"%-1\r\n", "out of range"),
        (b"*4294967297\r\n", "out of range"),
        (b":\r\n", "integer"),
        (b":1.5\r\n", "integer"),
        (b":-0\r\n", "integer"),
        (b":9223372036854775808\r\n", "integer"),
        (b":-9223372036854775809\r\n", "integer"),
        (b":1\r\r", "integer"),
        (b"+a\nb\r\n", "a line"),
        (b"+a\rb\r\n", "a line"),
        (b"+" + b"x" * 65_536, "a line"),
        (b"_x\r\n", "null"),
        (b"#x\r\n", "boolean"),
        (b"#\r\n", "boolean"),
        (b",\r\n", "double"),
        (b",.\r\n", "double"),
        (b",1e\r\n", "double"),
        (b",0x10\r\n", "double"),
        (b", 1\r\n", "double"),
        (b"," + b"1" * 401 + b"\r\n", "double"),
        (b"(\r\n", "big number"),
        (b"(1x\r\n", "big number"),
        (b".\r\n", "a type"),
        (b"*1\r\n>1\r\n:1\r\n", "a push within"),
        (b"*1\r\n" * 129, "within one another"),
        (b"%1\r\n*1\r\n:1\r\n:2\r\n", "a key"),
    ],
)
def test_refused(data: bytes, why: str) -> None:
    source = reader()
    source.feed(b":1\r\n" + data)
    assert source.gets() == 1
    for _ in range(2):  # also what comes after it
        with pytest.raises(ValueError, match=why):
            source.gets()
        source.feed(b":2\r\n")


def test_values_of_resp3() -> None:
    data = b"!5\r\nERR x\r\n=7\r\ntxt:abc\r\n(-123456789012345678901\r\n,-inf\r\n,1e2\r\n%1\r\n+a\r\n#t\r\n"
    refused, *others = all_of(reader(), data, [])
    assert isinstance(refused, RedisRefused)
    assert refused.code == "ERR"
    assert others == [b"abc", b"-123456789012345678901", -math.inf, 100.0, {b"a": True}]
    assert math.isnan(all_of(reader(), b",nan\r\n", [])[0])


def test_attributes_are_left_out() -> None:
    data = b"|1\r\n+ttl\r\n:5\r\n*2\r\n|1\r\n*1\r\n+x\r\n*0\r\n:1\r\n:2\r\n|0\r\n+OK\r\n"
    assert all_of(reader(), data, list(range(len(data)))) == [[1, 2], b"OK"]


def test_receiving_into_its_memory() -> None:
    """Also with a reply that needs more than there is at first, and with another one behind it."""
    source = reader()
    data = blob(b"$", bytes(range(256)) * 8192) + b":7\r\n"
    views = []
    found = []
    for begin in range(0, len(data), 100_001):
        piece = data[begin : begin + 100_001]
        while piece:
            room = source.room()
            views.append(room)  # who keeps it harms nobody
            took = min(len(room), len(piece))
            assert took
            room[:took] = piece[:took]
            source.filled(took)
            piece = piece[took:]
            while (reply := source.gets()) is not NOT_YET:
                found.append(reply)
    assert found == [bytes(range(256)) * 8192, 7]
    for view in views:
        view[:] = bytes(len(view))
    source.feed(b":8\r\n")
    assert source.gets() == 8


def test_bounds_of_what_is_given() -> None:
    source = RespReader(RedisRefused, Push, NOT_YET)
    source.feed(bytearray(b"xx:1\r\nyy"), 2, 4)
    assert source.gets() == 1
    for at, count in ((0, 5), (5, 1), (-1, 2), (4, 1)):
        with pytest.raises(ValueError, match="bytes from"):
            source.feed(b"abcd", at, count)
    for count in (-1, len(source.room()) + 1):
        with pytest.raises(ValueError, match="do not fit"):
            source.filled(count)


def test_a_count_alone_takes_no_memory() -> None:
    source = reader()
    source.feed(b"*4294967296\r\n$4294967296\r\n")
    assert source.gets() is NOT_YET
    assert len(source.room()) < 1 << 20
