"""Hostile files against a real PostgreSQL: each ends in a report that is exact by the row, or in a clear error that
leaves everything as it was; and none takes more memory than a stated bound."""

import os
import resource
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mailgenius._native import Batch, CsvScanner
from mailgenius.errors import SourceError
from mailgenius.importer import Importer
from mailgenius.pool import Pool
from mailgenius.servers import PostgresServer
from tests.rooms.hostile import Case, corpus, count_rows, good, table

CASES = corpus()
TABLES = ("leads", "imports", "import_lanes", "import_changes")


@pytest.fixture(scope="module")
def conninfo(postgres_server: PostgresServer, _template: str) -> Iterator[str]:
    """One database for all of the corpus; each case has a workspace."""
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"create database hostile template {_template}")
    yield make_conninfo(postgres_server.dsn, dbname="hostile")
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute("drop database hostile with (force)")


@pytest.fixture(scope="module")
def shared(conninfo: str) -> Iterator[Pool]:
    with Pool(conninfo, max_size=4) as pool:
        yield pool


def sizes(pool: Pool) -> dict[str, int]:
    return {name: pool.fetch(f"select count(*) from mailgenius.{name}")[0][0] for name in TABLES}


def stored(pool: Pool, workspace: str) -> int:
    found = pool.fetch(
        "select count(*) from mailgenius.leads l join mailgenius.workspaces w on w.id = l.workspace_id"
        " where w.slug = %s",
        (workspace,),
    )
    return int(found[0][0])


def rejected_rows(path: Path, delimiter: bytes) -> list[tuple[int, str]]:
    """(line, reason) of each record of a rejects file."""
    data = path.read_bytes()
    batch, at, out = Batch(), 0, []
    scanner = CsvScanner(delimiter=delimiter, max_field=1 << 29, max_row=1 << 29, max_columns=1 << 24)
    while at < len(data):
        at += scanner.scan(batch, data, at, len(data), True, 1_000_000)
        out += [batch.row(i)[:3] for i in range(len(batch))]
    assert out[0] == [b"mg_line", b"mg_column", b"mg_reason"]
    return [(int(line), reason.decode()) for line, _, reason in out[1:]]


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_hostile(case: Case, shared: Pool, tmp_path: Path) -> None:
    importer, workspace = Importer(shared), f"w{CASES.index(case)}"
    source = case.source(tmp_path) if callable(case.source) else case.source
    rejects = tmp_path / "rejects.csv"
    before = sizes(shared)
    if case.error is not None:
        with pytest.raises(SourceError, match=case.error):
            importer.run(source, workspace=workspace, rejects=rejects, **case.options)
        assert sizes(shared) == before
        return
    report = importer.run(source, workspace=workspace, rejects=rejects, **case.options)
    outcomes = (
        report.inserted, report.updated, report.existing, report.duplicates, report.suppressed, report.rejected,
    )  # fmt: skip
    assert sum(outcomes) == report.rows
    assert report.inserted == stored(shared, workspace) == sizes(shared)["leads"] - before["leads"]
    assert sum(report.reasons.values()) == report.rejected
    found = rejected_rows(rejects, report.delimiter.encode())
    assert Counter(reason for _, reason in found) == report.reasons
    assert [(problem.line, problem.reason) for problem in report.problems] == found[:100]
    if case.accepted >= 0:
        assert dict(found) == dict(case.rejected)
        assert len(found) == len(case.rejected)
        assert (report.inserted, report.duplicates) == (case.accepted, case.duplicates)
    else:
        assert isinstance(source, bytes)
        rows = count_rows(source)[1:]
        assert report.rows == len(rows)
        assert [line for line, reason in found if reason == "row.quote_unclosed"] == [
            line for line, closed in rows if not closed
        ]
        assert {line for line, _ in found} <= {line for line, _ in rows}


# ---- files that change while they are read ----


def being_read(path: Path) -> bool:
    """Whether this process has the file open and has begun to read it."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                return "pos:\t0\n" not in Path("/proc/self/fdinfo", entry.name).read_text()
        except OSError:
            continue
    return False


@pytest.mark.parametrize("change", ["grows", "shrinks", "is replaced", "is removed", "is rewritten"])
def test_a_file_that_changes_while_it_is_read(change: str, shared: Pool, tmp_path: Path) -> None:
    """The rejects file is a pipe: opening it waits for a reader, so the change happens between open and end."""
    path, pipe = tmp_path / "leads.csv", tmp_path / "rejects"
    data = table(*(good(i) for i in range(20_000)))
    path.write_bytes(data)
    os.mkfifo(pipe)
    stopped = threading.Event()

    def meddle() -> None:
        while not being_read(path):
            if stopped.wait(0.001):
                return
        if change == "grows":
            with path.open("ab") as file:
                file.write(good(7_000_000))
        elif change == "shrinks":
            os.truncate(path, len(data) // 2)
        elif change == "is replaced":
            (tmp_path / "new").write_bytes(data)
            (tmp_path / "new").replace(path)
        elif change == "is removed":
            path.unlink()
        else:
            with path.open("r+b") as file:
                file.seek(len(data) // 2)
                file.write(b"X")
            os.utime(path, (1, 1))
        pipe.read_bytes()

    thread = threading.Thread(target=meddle)
    thread.start()
    before = sizes(shared)
    try:
        with pytest.raises(SourceError, match="while it was read"):
            Importer(shared).run(path, workspace="changing", rejects=pipe)
    finally:
        stopped.set()
        thread.join(30)
    assert not thread.is_alive()
    assert sizes(shared) == before


# ---- memory ----

PROGRAM = """
import resource, sys
from mailgenius.importer import Importer
from mailgenius.config import ImporterSettings
from mailgenius.errors import SourceError
from mailgenius.pool import Pool

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
def blocks(*parts):
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            piece, size = part
            block = piece * ((1 << 20) // len(piece))
            for _ in range(size >> 20):
                yield block
with Pool(sys.argv[1], max_size=4) as pool:
    importer = Importer(pool)
    importer.run(b"email,note\\na@example.com,x\\n" * 1000, workspace="warm", dry_run=True)
    before = peak()
    try:
        report = importer.run(blocks({parts}), workspace="endless", dry_run=True)
        print(dict(report.reasons), report.inserted)
    except SourceError as error:
        print("SourceError:", error)
    print(peak() - before)
"""

# What a generator yields (SIZE bytes of a piece repeated), what comes of it, and how many bytes are tried.
GIB, MIB = 1 << 30, 1 << 20
HUGE = {
    "an unquoted field": (
        'b"email,note\\na@b.co,x\\nb@b.co,", (b"x", SIZE), b"\\nc@b.co,y\\n"',
        "field.too_long': 1} 2",
    ),
    "a quoted field": ('b"email,note\\na@b.co,x\\nb@b.co,\\"", (b"x", SIZE), b"\\"\\nc@b.co,y\\n"', "unclosed': 1} 2"),
    "fields": ('b"email,note\\na@b.co,x\\nb@b.co", (b",x", SIZE), b"\\nc@b.co,y\\n"', "row.too_many_columns': 1} 2"),
    "a header": ('b"email,note", (b",x", SIZE)', "SourceError: "),
    "empty lines": ('b"email,note\\n", (b"\\n", SIZE), b"c@b.co,y\\n"', "{} 1"),
    "one address": ('b"email,note\\n", (b"a@example.com,x\\n", SIZE // 16)', "{} 1"),
}


@pytest.mark.parametrize(
    ("what", "size"),
    [
        ("an unquoted field", GIB),
        ("a quoted field", GIB),
        *((what, 128 * MIB) for what in HUGE),
        *(pytest.param(what, GIB, marks=pytest.mark.scale) for what in ("fields", "a header", "empty lines")),
    ],
)
def test_too_much_takes_bounded_memory(what: str, size: int, conninfo: str) -> None:
    parts, answer = HUGE[what]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{parts}", parts.replace("SIZE", str(size))), conninfo],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.strip().rsplit("\n", 1)
    assert answer in said
    assert int(grown) < 100 * MIB


def test_a_bomb_takes_bounded_memory(conninfo: str, tmp_path: Path) -> None:
    """4 GiB in 4 MB: refused long before it is expanded, under a limit on the address space."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    path = tmp_path / "bomb.gz"
    with path.open("wb") as file:
        file.write(packer.compress(b"email\n"))
        for _ in range(256):
            file.write(packer.compress(b" " * (1 << 20)))
        file.write(packer.flush())
    program = (
        "import sys\nfrom mailgenius.errors import SourceError\nfrom mailgenius.importer.source import open_source\n"
        "view = memoryview(bytearray(4 << 20))\n"
        "try:\n    with open_source(sys.argv[1]) as source:\n        while source.readinto(view): pass\n"
        "except SourceError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert "bomb" in done.stdout, done.stderr
