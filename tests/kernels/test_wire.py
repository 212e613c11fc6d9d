"""RESP as the compiled core packs it, against a packer of four lines and hiredis' own."""

import array
import binascii
from typing import Any

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import as_commands, key_slot, pack_command, pack_commands

WORDS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=40),
    st.integers(),
    st.integers(-(1 << 63) - 2, (1 << 64) + 2),
    st.floats(),
    st.binary(max_size=20).map(bytearray),
    st.binary(max_size=20).map(memoryview),
)
COMMANDS = st.lists(WORDS, min_size=1, max_size=8).map(tuple)


def plain(command: tuple[Any, ...]) -> bytes:
    words = [
        word.encode()
        if isinstance(word, str)
        else repr(word).encode()
        if isinstance(word, int | float)
        else bytes(word)
        for word in command
    ]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@given(COMMANDS)
def test_one_command(command: tuple[Any, ...]) -> None:
    assert pack_command(command) == plain(command)


@given(st.lists(COMMANDS, max_size=8))
def test_many_commands(commands: list[tuple[Any, ...]]) -> None:
    assert pack_commands(commands) == b"".join(map(plain, commands))
    assert pack_commands(list(command) for command in commands) == b"".join(map(plain, commands))


@given(st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=20), st.integers()), min_size=1).map(tuple))
def test_as_hiredis_does(command: tuple[Any, ...]) -> None:
    assert pack_command(command) == hiredis.pack_command(command)


@pytest.mark.parametrize("size", [9, 10, 99, 100, 999, 1000, 99_999, 100_000, 3_000_000])
def test_lengths_at_the_edges_of_their_digits(size: int) -> None:
    assert pack_command(("SET", b"x" * size)) == plain(("SET", b"x" * size))
    assert pack_command(("x",) * (size % 5000 + 1)) == plain(("x",) * (size % 5000 + 1))


EDGES = st.sampled_from([0, 1, 9, 10, 99, 100, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 20])


@st.composite
def buffers(draw: st.DrawFn) -> Any:
    """Bytes of an odd size, whole or in steps, forwards or backwards, of one dimension or two."""
    size, fill = draw(EDGES), draw(st.integers(0, 255))
    data = (bytes(range(256)) * (size // 256 + 1))[fill % 256 :][:size] or bytes(size)
    kind = draw(st.sampled_from([bytes, bytearray, memoryview, "step", "back", "square", "wide"]))
    if kind == "step":
        return memoryview(data)[:: draw(st.integers(2, 7))]
    if kind == "back":
        return memoryview(data)[:: -draw(st.integers(1, 7))]
    if kind == "square":
        side = int(len(data) ** 0.5)
        return memoryview(data[: side * side]).cast("B", (side, side)) if side else memoryview(data)
    if kind == "wide":
        return array.array("H", data[: len(data) // 2 * 2])
    return kind(data)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.one_of(buffers(), WORDS), min_size=1, max_size=6).map(tuple), max_size=4))
def test_odd_sizes_and_buffers(commands: list[tuple[Any, ...]]) -> None:
    wanted = [plain(command) for command in commands]
    assert [pack_command(command) for command in commands] == wanted
    assert pack_commands(commands) == b"".join(wanted)
    found = hiredis.Reader()
    found.feed(b"".join(wanted))
    for command in commands:
        assert found.gets() == [
            bytes(word) if not isinstance(word, str | int | float) else text(word) for word in command
        ]


def text(word: str | float) -> bytes:
    return word.encode() if isinstance(word, str) else repr(word).encode()


class Text(str):
    __slots__ = ()


class Number(int):
    __slots__ = ()


def test_subclasses_and_buffers() -> None:
    assert pack_command((Text("é"), Number(7), array.array("b", [65, 66]))) == plain(("é", 7, b"AB"))
    assert pack_command((memoryview(b"abcdef")[::2],)) == plain((b"ace",))


@pytest.mark.parametrize("wrong", [None, True, [], {}, object(), 1j])
def test_what_is_no_word(wrong: object) -> None:
    says = f"word 3 of SET: a Redis command takes str, bytes, int, float or a buffer.*{type(wrong).__name__}"
    for name in ("SET", b"SET"):
        with pytest.raises(TypeError, match=f"^{says}"):
            pack_command((name, "k", wrong))
        with pytest.raises(TypeError, match=f"^command 2, {says}"):
            pack_commands([("PING",), (name, "k", wrong)])
    with pytest.raises(TypeError, match=r"^word 1: a Redis command takes"):
        pack_command((wrong, "k"))


def test_what_is_no_command() -> None:
    with pytest.raises(ValueError, match="empty"):
        pack_command(())
    for check in (pack_commands, as_commands):
        with pytest.raises(ValueError, match=r"^command 2: an empty Redis command"):
            check([("GET", "a"), ()])
        for wrong in (None, True, 1, "GET", b"GET", {"GET": "a"}, {"GET"}):
            with pytest.raises(TypeError, match=f"^command 2: give the words.*, not {type(wrong).__name__}$"):
                check([("GET", "a"), wrong])
    with pytest.raises(UnicodeEncodeError):
        pack_command(("\ud800",))
    with pytest.raises(UnicodeEncodeError):
        pack_commands([("\ud800",)])
    assert pack_commands([]) == b""
    assert as_commands(iter([["GET", "a"], ("GET", "b")])) == [("GET", "a"), ("GET", "b")]


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3),
        ("", 0),
        ("{}", 15257),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
    ],
)  # the examples of the Cluster specification; slots as Valkey gives them
def test_slots_of_keys(key: str, slot: int) -> None:
    assert key_slot(key) == key_slot(key.encode()) == key_slot(bytearray(key.encode())) == slot


@given(st.lists(st.sampled_from([b"{", b"}", b"a", b"b\0", b"\xff"])).map(b"".join) | st.binary(max_size=300))
def test_slots_are_those_of_the_standard_library(key: bytes) -> None:
    first = key.find(b"{")
    last = key.find(b"}", first + 1) if first >= 0 else -1
    tag = key[first + 1 : last] if last > first + 1 else key
    assert key_slot(key) == binascii.crc_hqx(tag, 0) % 16384


def test_slots_of_what_is_no_key() -> None:
    assert key_slot(17) == key_slot("17")
    with pytest.raises(TypeError, match="a Redis command takes"):
        key_slot(None)
