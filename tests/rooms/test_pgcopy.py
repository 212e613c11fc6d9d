"""What pgcopy.c writes, read back by PostgreSQL: every value of every type, NULLs, defaults, masks, keys."""

from __future__ import annotations

import json
import random
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from mailgenius._native import Batch, Chunk, CsvScanner, Merge, Plan, Records, Sorted
from tests.kernels.sort_records import field, merge, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = (
    "email",
    "first_name",
    "last_name",
    "phone",
    "company",
    "city",
    "country",
    "tags",
    "attributes",
    "status",
    "score",
)
COLUMNS = (*NAMES, "created_at")
TABLE = """
create temp table t (
    id int, note text, email text collate "C", first_name text, last_name text, phone text, company text, city text,
    country text, tags text[], attributes jsonb, status text, score int, created_at timestamptz
)"""
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
ALL = (1 << len(COLUMNS)) - 1


def binary(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case int():
            return struct.pack(">i", value)
        case datetime():
            return struct.pack(">q", (value - EPOCH) // timedelta(microseconds=1))
        case dict():
            return b"\1" + json.dumps(value, ensure_ascii=False).encode()
        case list():
            head = struct.pack(">iiiii", 1, 0, 25, len(value), 1) if value else struct.pack(">iii", 0, 0, 25)
            return head + b"".join(field(item.encode()) for item in value)
    raise TypeError(value)


def text(rng: random.Random, longest: int = 12) -> str:
    return "".join(rng.choice("ab 'é\n\t\\{},\"ß漢🙂\x7f") for _ in range(rng.randrange(longest)))


def lead(rng: random.Random, i: int) -> list[Any]:
    values: list[Any] = [f"{text(rng)}{i:06d}@exämple.com"]
    values += [text(rng, 40) for _ in range(6)]
    values.append([text(rng) for _ in range(rng.randrange(4))])
    values.append({text(rng): text(rng) for _ in range(rng.randrange(3))})
    values.append(rng.choice(["active", "bounced"]))
    values.append(rng.randrange(-(2**31), 2**31))
    values.append(EPOCH + timedelta(microseconds=rng.randrange(-(10**15), 10**16)))
    return [values[0], *(value if rng.random() < 0.7 else None for value in values[1:])]


def chunks(leads: Sequence[Sequence[Any]], size: int) -> Iterator[Chunk]:
    data = b"".join(
        record(binary(values[0]) or b"", line, [binary(v) for v in values[1:]]) for line, values in enumerate(leads)
    )
    block = Sorted(data).next_block(len(data))
    assert block is not None
    return merge([iter([block])], max_records=size)


@pytest.fixture
def connection(empty_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database) as made:
        made.execute(TABLE)
        yield made


def load(connection: psycopg.Connection, columns: Sequence[str], pieces: Iterator[bytes]) -> None:
    with connection.cursor() as cur, cur.copy(f"copy t ({', '.join(columns)}) from stdin (format binary)") as copy:
        copy.write(HEADER)
        for piece in pieces:
            copy.write(piece)
        copy.write(TRAILER)


def rows(connection: psycopg.Connection, columns: Sequence[str] = COLUMNS) -> list[tuple[Any, ...]]:
    return connection.execute(f'select {", ".join(columns)} from t order by email collate "C"').fetchall()


def in_order(leads: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(values) for values in leads), key=lambda values: values[0].encode())


@pytest.mark.parametrize("max_bytes", [1, 1000, 1 << 20])
def test_every_value_comes_back(connection: psycopg.Connection, max_bytes: int) -> None:
    rng = random.Random(max_bytes)
    leads = [lead(rng, i) for i in range(700)]
    for chunk in chunks(leads, 300):
        load(connection, COLUMNS, chunk.copy(None, 0, ALL, b"", 0, (), max_bytes))
    assert rows(connection) == in_order(leads)


def test_defaults_constants_and_fewer_fields(connection: psycopg.Connection) -> None:
    rng = random.Random(2)
    leads = [lead(rng, i) for i in range(300)]
    defaults: dict[str, Any] = {"tags": [], "attributes": {}, "status": "pending", "score": 0, "city": "?"}
    fill = [field(binary(defaults[name])) if name in defaults else b"" for name in COLUMNS]
    sent = ("email", "last_name", "city", "tags", "attributes", "score", "created_at")
    fields = sum(1 << COLUMNS.index(name) for name in sent)
    head = field(binary(7)) + field(binary("é"))
    for chunk in chunks(leads, 1000):
        load(connection, ("id", "note", *sent), chunk.copy(None, 0, fields, head, 2, fill))
    expected = [
        tuple(defaults.get(n) if v is None else v for n, v in zip(COLUMNS, values, strict=True) if n in sent)
        for values in in_order(leads)
    ]
    assert rows(connection, sent) == expected
    assert connection.execute("select count(*) from t where (id, note) = (7, 'é') and status is null").fetchone() == (
        300,
    )


def test_masked_halves_make_a_whole(connection: psycopg.Connection) -> None:
    rng = random.Random(3)
    leads = [lead(rng, i) for i in range(200)]
    for chunk in chunks(leads, 1000):
        mask = bytes(rng.randrange(2) for _ in range(len(chunk)))
        for want in (0, 1):
            load(connection, COLUMNS, chunk.copy(mask, want, ALL, b"", 0))
            keys = [chunk.key(i).decode() for i in range(len(chunk)) if mask[i] == want]
            assert received(connection, chunk.keys(mask, want)) == keys
        assert received(connection, chunk.keys(mask, 2)) == []
    assert rows(connection) == in_order(leads)


def received(connection: psycopg.Connection, array: bytes) -> list[str]:
    """What a parameter of type text[] in binary form holds, by way of the protocol itself."""
    result = connection.pgconn.exec_params(b"select to_json($1)", [array], [1009], [1])
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
    value = result.get_value(0, 0)
    assert value is not None
    found: list[str] = json.loads(value)
    return found


def test_the_order_is_that_of_collation_c(connection: psycopg.Connection) -> None:
    rng = random.Random(4)
    leads = [lead(rng, i) for i in range(500)] + [
        [e, *[None] * 11] for e in ("a", "a!", "A", "aa", "é", "z", "~", "漢")
    ]
    for chunk in chunks(leads, 1000):
        load(connection, COLUMNS, chunk.copy(None, 0, ALL, b"", 0))
        ours = [chunk.key(i).decode() for i in range(len(chunk))]
    assert [e for (e,) in rows(connection, ("email",))] == ours


def test_a_file_all_the_way(connection: psycopg.Connection) -> None:
    """Scanned, encoded, sorted in three runs, merged, copied."""
    lines = [f'p{i % 400}@example.com,Ana {i},"a;b{i}",{i},2024-02-{i % 28 + 1:02d},v{i}\n' for i in range(500)]
    plan = Plan([0, 1, 7, 10, 11, -1], [100] * 6, ["email", "name", "tags", "score", "since", "Extra"])
    batch, scanner, runs = Batch(), CsvScanner(), []
    for part in range(3):
        data, records = "".join(lines[part * 200 : part * 200 + 200]).encode(), Records()
        assert scanner.scan(batch, data, 0, len(data), True) == len(data)
        records.encode(plan, batch)
        assert not records.take_problems()
        ordered, found = Sorted(records), []
        while (block := ordered.next_block(700)) is not None:
            found.append(block)
        runs.append(found)
    duplicates = []
    for chunk in merge([iter(run) for run in runs], max_records=90):
        duplicates += chunk.duplicates()
        load(connection, COLUMNS, chunk.copy(None, 0, ALL, b"", 0))
    assert duplicates == sorted(
        ((i + 401, i + 1, f"p{i}@example.com".encode()) for i in range(100)), key=lambda duplicate: duplicate[2]
    )
    assert connection.execute(
        "select email, first_name, tags, score, created_at::date::text, attributes from t"
    ).fetchall() == [
        (f"p{i}@example.com", f"Ana {i}", ["a", f"b{i}"], i, f"2024-02-{i % 28 + 1:02d}", {"Extra": f"v{i}"})
        for i in sorted(range(400), key=lambda i: f"p{i}@")
    ]


def test_two_merges_make_two_lanes(connection: psycopg.Connection) -> None:
    rng = random.Random(6)
    leads = [lead(rng, i) for i in range(400)]
    data = b"".join(record(binary(v[0]) or b"", i, [binary(x) for x in v[1:]]) for i, v in enumerate(leads))
    block = Sorted(data).next_block(len(data))
    cut = sorted(v[0].encode() for v in leads)[150]
    for lo, hi, count in ((None, cut, 151), (cut, None, 249)):
        merged, chunk = Merge(1, lo, hi), Chunk()
        merged.feed(0, block)
        while merged.next(chunk) == 0:
            merged.feed(0, None)
        assert len(chunk) == count
        load(connection, COLUMNS, chunk.copy(None, 0, ALL, b"", 0))
    assert rows(connection) == in_order(leads)
