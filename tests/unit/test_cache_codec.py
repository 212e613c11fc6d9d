"""Values to bytes and back: what comes back is what went in, or a miss with its reason."""

import datetime
import enum
import random
import subprocess
import sys
import threading
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import seal, unseal
from mailgenius.cache import Region
from mailgenius.cache.codec import Codec, Found, Tags, train
from mailgenius.cache.schema import fingerprint


class Lead(msgspec.Struct, array_like=True, frozen=True):
    id: int
    email: str
    tags: list[str]
    score: float | None = None


class Renamed(msgspec.Struct, array_like=True, frozen=True):
    """``Lead``, with two fields of one type that have changed places; they decode one as the other."""

    id: int
    mail: str
    tags: list[str]
    score: float | None = None


class Strict(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n is negative")


LEAD = Lead(1, "ann@example.com", ["vip"], 0.5)
LEADS = st.builds(
    Lead,
    st.integers(-(2**63), 2**63 - 1),
    st.text(),
    st.lists(st.text(), max_size=4),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


def codec(**fields: Any) -> Codec:
    return Codec(Region(name="lead", **fields))


def reasons(codec: Codec) -> dict[str, int]:
    return dict(codec.misses)


@given(LEADS | st.none(), st.sampled_from(["msgpack", "json"]), st.sampled_from([None, 0, 100]))
def test_round_trip(lead: Lead | None, serializer: str, compress_from: int | None) -> None:
    made = codec(type=Lead, serializer=serializer, compress_from=compress_from)
    data = made.encode("lead:1", lead, made=1.7e9, fresh=300, load=0.25, version=7)
    assert made.decode("lead:1", data) == Found(lead, 1.7e9, 300, 0.25, 7)
    assert not made.misses


@given(LEADS | st.none(), st.lists(st.tuples(st.text(), st.binary(max_size=8)), max_size=4).map(tuple))
def test_tags(lead: Lead | None, tags: Tags) -> None:
    for compress_from in (None, 0):
        made = codec(type=Lead, compress_from=compress_from)
        found = made.decode("k", made.encode("k", lead, made=1.0, fresh=1.0, tags=tags))
        assert found == Found(lead, 1.0, 1.0, 0.0, 0, tags)
    for payload in (b"", b"\x05\x00\x00\x00\x90", b"\x01\x00\x00\x00\x01"):
        assert made.decode("k", seal("k", payload, 5, 1, fingerprint(Lead), 1.0, 1.0)) is None
    assert reasons(made) == {"form": 3}


def test_bytes() -> None:
    made = codec(serializer="raw")
    for value in (b"", b"null", bytes(5000), None):
        found = made.decode("k", made.encode("k", value, made=1.0, fresh=1.0))
        assert found is not None
        assert found.value == value
    with pytest.raises(TypeError, match="are bytes, not str"):
        made.encode("k", "text", made=1.0, fresh=1.0)


@given(st.floats(0, 4e9), st.floats(0, 4e6), st.floats(0, 4000), st.integers(0, 2**64 - 1))
def test_times(made: float, fresh: float, load: float, version: int) -> None:
    found = unseal("k", seal("k", b"x", 0, 1, 5, made, fresh, load, version))
    assert isinstance(found, tuple)
    assert found[:4] == (b"x", 0, 1, 5)
    assert found[4:7] == pytest.approx((made, fresh, load), abs=0.0011)
    assert found[7] == version


def test_long_times() -> None:
    found = unseal("k", seal("k", b"", 0, 0, 0, -5.0, 1e9, 1e9))
    assert found == (b"", 0, 0, 0, -5.0, float("inf"), (2**32 - 1) / 1e6, 0)
    for bad in ((float("nan"), 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan")), (float("inf"), 1.0, 1.0)):
        with pytest.raises(ValueError, match="are seconds"):
            seal("k", b"", 0, 0, 0, *bad)


@settings(max_examples=300)
@given(LEADS, st.integers(0), st.integers(0, 7))
def test_one_bit_of_damage(lead: Lead, where: int, bit: int) -> None:
    made = codec(type=Lead)
    data = bytearray(made.encode("lead:1", lead, made=1.7e9, fresh=300))
    data[where % len(data)] ^= 1 << bit
    assert made.decode("lead:1", bytes(data)) is None
    assert sum(made.misses.values()) == 1


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\xc1\x01" + data))
def test_garbage(data: bytes) -> None:
    made = codec(type=Lead)
    assert made.decode("lead:1", data) is None
    assert set(reasons(made)) <= {"foreign", "format", "damaged"}


@pytest.mark.parametrize(
    "data", [b"", b"null", b'{"id": 1}', b"\x93\x01\x02\x03", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xc1"]
)
def test_what_others_store(data: bytes) -> None:
    made = codec(type=Lead)
    assert made.decode("lead:1", data) is None
    assert reasons(made) == {"foreign": 1}


def test_another_keys_value() -> None:
    made = codec(type=Lead)
    data = made.encode("lead:1", LEAD, made=1.0, fresh=300)
    assert made.decode("lead:2", data) is None
    assert made.decode("lead:1", data[:-1]) is None
    assert reasons(made) == {"damaged": 2}
    assert made.decode("lead:1", data[:1] + b"\x02" + data[2:]) is None
    assert reasons(made) == {"damaged": 2, "format": 1}


def test_another_versions_type() -> None:
    data = codec(type=Lead).encode("k", LEAD, made=1.0, fresh=300)
    assert msgspec.msgpack.decode(data[40:], type=Renamed).mail == LEAD.email  # msgspec alone would not see it
    for other in (codec(type=Renamed), codec(type=Lead | None), codec(type=list[Lead]), codec()):
        assert other.decode("k", data) is None
        assert reasons(other) == {"type": 1}
    for form in (codec(type=Lead, serializer="json"), codec(serializer="raw")):
        assert form.decode("k", data) is None
        assert reasons(form) == {"form": 1}


def test_a_value_that_is_not_of_the_type() -> None:
    made = codec(type=Strict)
    wrong = msgspec.msgpack.encode({"n": -1})
    for payload in (wrong, b"", b"\x81", msgspec.msgpack.encode({"n": "x"}), wrong + b"\x00"):
        assert made.decode("k", seal("k", payload, 0, 1, fingerprint(Strict), 1.0, 1.0)) is None
    assert reasons(made) == {"type": 5}
    assert made.decode("k", seal("k", wrong, 8, 1, fingerprint(Strict), 1.0, 1.0)) is None
    assert reasons(made) == {"type": 5, "form": 1}


# -- compression


def test_what_does_not_pay_is_left() -> None:
    made = codec(serializer="raw", compress_from=100)
    noise, text = random.Random(1).randbytes(5000), b"the same again " * 300
    assert len(made.encode("k", noise, made=1.0, fresh=1.0)) == 5040
    assert len(made.encode("k", text, made=1.0, fresh=1.0)) < 150
    assert len(codec(serializer="raw", compress_from=None).encode("k", text, made=1.0, fresh=1.0)) == 4540


def test_what_cannot_be_expanded() -> None:
    made = codec(serializer="raw")
    bomb = zstandard.ZstdCompressor().compress(bytes((64 << 20) + 1))
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    cut = zstandard.ZstdCompressor().compress(b"abc" * 5000)[:-3]
    for payload in (bomb, streamed, cut, b"", b"garbage"):
        assert made.decode("k", seal("k", payload, 2, 0, 0, 1.0, 1.0)) is None
    assert reasons(made) == {"expansion": 5}


def test_a_trained_dictionary() -> None:
    rng = random.Random(4)

    def lead(i: int) -> Lead:
        name = rng.choice(["ana", "bruno", "carla", "diego", "elena"])
        return Lead(i, f"{name}.{rng.randrange(10**6)}@empresa-{rng.randrange(50)}.com.br", ["expo-2026", "newsletter"])

    plain = codec(type=Lead)
    samples = [msgspec.msgpack.encode(lead(i)) for i in range(2000)]
    learned = train(samples[:1000], 4096)
    newer = train(samples[1000:], 8192)
    ours = codec(type=Lead, dictionary=learned, compress_from=32)
    value = lead(5)
    data = ours.encode("k", value, made=1.0, fresh=1.0)
    assert len(data) - 40 < 0.75 * len(samples[0])
    found = ours.decode("k", data)
    assert found is not None
    assert found.value == value
    later = codec(type=Lead, dictionary=newer, old_dictionaries=(learned,), compress_from=32)
    assert later.decode("k", data) == found
    assert plain.decode("k", data) is None
    assert reasons(plain) == {"dictionary": 1}
    with pytest.raises(ValueError, match="give more of them"):
        train([b"a"])


def test_threads_may_share_a_codec() -> None:
    made = codec(serializer="raw", compress_from=0)
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        for i in range(300):
            value = f"{seed} {i} ".encode() * 400
            found = made.decode("k", made.encode("k", value, made=1.0, fresh=1.0))
            if found is None or found.value != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- fingerprints


class Colour(enum.Enum):
    RED = "red"


class Tree(msgspec.Struct):
    name: str
    below: "list[Tree]" = msgspec.field(default_factory=lambda: [])


KINDS: list[Any] = [
    int, str, bytes, list[int], list[str], dict[str, int], tuple[int, str], tuple[str, int], Lead, Renamed, Strict,
    Lead | None, Lead | int, Colour, Tree, list[Tree], datetime.datetime, list[Any],
]  # fmt: skip


def test_forms_differ() -> None:
    assert len({fingerprint(kind) for kind in KINDS}) == len(KINDS)
    assert fingerprint(Any) == 0 not in {fingerprint(kind) for kind in KINDS}


def test_names_and_order_are_part_of_the_form_and_defaults_are_not() -> None:
    def form(*fields: Any, **config: Any) -> int:
        return fingerprint(msgspec.defstruct("Lead", fields, **config))

    plain = form(("a", str), ("b", str))
    assert plain == form(("a", str), ("b", str))
    assert plain != form(("b", str), ("a", str))
    assert plain != form(("a", str), ("b", str), array_like=True)
    assert plain != form(("a", str), ("b", str), tag=True)
    assert form(("a", str, "x")) == form(("a", str, "y"))


def test_another_process_finds_the_same() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from tests.unit.test_cache_codec import KINDS, fingerprint\n"
        "print([fingerprint(kind) for kind in KINDS])"
    )
    done = subprocess.run([sys.executable, "-c", code, *sys.path], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str([fingerprint(kind) for kind in KINDS])
