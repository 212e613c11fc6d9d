"""Which jobs of a lease begin alike, held against the reader in Python."""

from __future__ import annotations

import random

import pytest

from mailgenius._native import Histogram, jobs_alike
from mailgenius.queue.frames import pack, parse
from mailgenius.queue.options import Options

NOW = 1_800_000_000_000


def read(frames: list[bytes], at: int, tail: bytes) -> tuple[int, list[tuple[str, int, str, bytes, bytes]], Histogram]:
    entries: list[tuple[str, int, str, bytes, bytes]] = []
    waited = Histogram()
    return jobs_alike(frames, at, tail, "batch", "like", entries, waited, float(NOW)), entries, waited


def test_jobs_that_differ_in_time_and_payload_are_alike() -> None:
    frames = [pack("send", b"%d" % n, added_at=NOW - n) for n in range(5)]
    tail = frames[0][9:-1]
    stop, entries, waited = read(frames, 1, tail)
    assert stop == 5
    assert entries == [("batch", n, "like", b"%d" % n, frames[n]) for n in range(1, 5)]
    assert (waited.count, waited.min, waited.max) == (4, 0.001, 0.004)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\1",
        pack("send", b"", added_at=NOW)[:-1],
        pack("sent", b"1", added_at=NOW),
        pack("send", b"1", added_at=NOW, attempts=1),
        pack("send", b"1", added_at=NOW, stalls=1),
        pack("send", b"1", added_at=NOW, id="0-1"),
        pack("send", b"1", Options(attempts=2), added_at=NOW),
        b"\2" + pack("send", b"1", added_at=NOW)[1:],
    ],
)
def test_the_first_that_is_different_ends_it(other: bytes) -> None:
    one = pack("send", b"1", added_at=NOW + 5)  # by a clock that is ahead
    tail = one[9:-1]
    assert read([one, other, one], 0, tail)[:2] == (1, [("batch", 0, "like", b"1", one)])
    assert read([other], 0, tail)[:2] == (0, [])
    assert read([one], 1, tail)[:2] == (1, [])


def test_what_is_found_is_what_the_reader_in_python_finds() -> None:
    chance = random.Random(1)
    for _ in range(200):
        frames = []
        for _ in range(chance.randrange(30)):
            name, payload = chance.choice(("send", "bulk")), chance.randbytes(chance.randrange(20))
            frames.append(pack(name, payload, added_at=NOW - chance.randrange(1000)))
        tail = pack("send", b"")[9:]
        at = 0
        while at < len(frames):
            stop, entries, waited = read(frames, at, tail)
            assert all(parse(frame).name == "send" for frame in frames[at:stop])
            assert stop == len(frames) or parse(frames[stop]).name == "bulk"
            assert [entry[3] for entry in entries] == [parse(frame).payload for frame in frames[at:stop]]
            assert waited.count == stop - at
            at = stop + 1


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(TypeError):
        read(["text"], 0, b"")  # type: ignore[list-item]
