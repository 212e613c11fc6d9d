"""Kills, cuts and full disks at random bytes of an import: what is there after ``resume`` equals an uninterrupted run.

``MG_FAULT_ROUNDS`` says how many rounds (10 by default, 100 with ``make faults``).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.data import write_leads
from mailgenius import errors
from mailgenius.importer import ImportReport
from mailgenius.importer.load import LaneLoader, Loader
from mailgenius.leads import migrate
from mailgenius.pool import Pool
from mailgenius.servers import PostgresServer, postgres

from .importing import run_or_resume
from .proxy import FaultProxy

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("MG_FAULT_ROUNDS", "10"))
ROWS = 6_000
OUTCOMES = ("rows", "inserted", "updated", "existing", "duplicates", "suppressed", "rejected", "reasons")


def through(dsn: str, port: int) -> str:
    return re.sub(r"port=\d+", f"port={port}", dsn)


def address(dsn: str) -> tuple[str, int]:
    found = re.search(r"port=(\d+)", dsn)
    assert found is not None
    return "127.0.0.1", int(found[1])


@pytest.fixture(scope="module")
def server(fast_path: Path) -> Iterator[PostgresServer]:
    with postgres(fast_path / "import faults", port=0) as running:
        yield running


@pytest.fixture(scope="module")
def leads_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "leads.csv"
    write_leads(path, ROWS, seed=11)
    return str(path)


def prepare(dsn: str, path: str) -> None:
    """A schema of our own, with leads and suppressions that the file meets."""
    with Pool(dsn, timeout=60) as pool:
        pool.execute("drop schema if exists mailgenius cascade")
        migrate(pool)
        run_or_resume(pool, path + ".before", "skip")
        pool.execute(
            "insert into mailgenius.suppressions (workspace_id, email, reason)"
            " select workspace_id, email, 'manual' from mailgenius.leads where id % 7 = 0"
        )
        pool.execute("delete from mailgenius.leads where id % 7 = 0")


def fingerprint(pool: Pool) -> object:
    """Every lead, without what a clock or a sequence decides."""
    return pool.fetch_one(
        "select count(*), md5(string_agg(concat_ws('|', email, first_name, last_name, phone, company, city, country, tags,"
        " attributes, status, score), E'\\n' order by workspace_id, email)) from mailgenius.leads"
    )


def account(report: ImportReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in OUTCOMES}


@pytest.fixture(scope="module")
def expected(server: PostgresServer, leads_file: str) -> dict[str, tuple[object, dict[str, object], int]]:
    """By ``on_existing``: table, account and bytes sent by an import that nothing disturbs."""
    lines = Path(leads_file).read_bytes().splitlines(keepends=True)
    Path(leads_file + ".before").write_bytes(lines[0] + b"".join(lines[200:400]) + b"".join(lines[3000:3200]))
    found = {}
    for mode in ("skip", "update"):
        prepare(server.dsn, leads_file)
        with FaultProxy(address(server.dsn)) as proxy, Pool(through(server.dsn, proxy.port)) as pool:
            report = run_or_resume(pool, leads_file, mode)
            found[mode] = (fingerprint(pool), account(report), proxy.sent)
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_fault_at_a_random_byte(
    number: int,
    server: PostgresServer,
    leads_file: str,
    expected: dict[str, tuple[object, dict[str, object], int]],
) -> None:
    fault = ("client", "server", "both", "cut", "restart")[number % 5]
    mode = ("skip", "update")[number // 5 % 2]
    table, counts, total = expected[mode]
    prepare(server.dsn, leads_file)
    with FaultProxy(address(server.dsn)) as proxy:
        command = [sys.executable, str(Path(__file__).with_name("importing.py"))]
        child = subprocess.Popen(
            [*command, through(server.dsn, proxy.port), leads_file, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None

        def act() -> None:
            if fault in ("client", "both"):
                child.kill()
            if fault in ("server", "both"):
                server.kill()
                server.restart()
            if fault == "restart":
                server.restart()
            if fault == "cut":
                proxy.cut()

        proxy.arm(random.Random(number).randrange(total), act)
        output, complaint = child.communicate(timeout=100)
        assert proxy.done.wait(60), "the import ended before the fault"
        assert output.startswith("ready") or fault in ("client", "both"), complaint
        if fault not in ("client", "both"):  # the importer goes on by itself
            assert child.returncode == 0, complaint
    server.start()
    with Pool(server.dsn, timeout=30) as pool:
        report = run_or_resume(pool, leads_file, mode)
        assert fingerprint(pool) == table
        assert account(report) == counts


def test_what_a_crash_takes_after_the_last_chunk_is_loaded_again(
    tmp_path: Path,
    leads_file: str,
    expected: dict[str, tuple[object, dict[str, object], int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, counts, _ = expected["skip"]
    lost: list[int] = []
    crashes: Iterator[bool] = iter(())

    class Unlucky(Loader):
        """The server crashes when all lanes are done, before anything of them reached the disk."""

        def _lost(self, loaders: Sequence[LaneLoader], conn: psycopg.Connection[Any]) -> list[LaneLoader]:
            if next(crashes, False):
                server.kill()
                server.restart()
            again = super()._lost(loaders, conn)
            lost.append(len(again))
            return again

    lazy = {"wal_writer_delay": "10s", "wal_writer_flush_after": "0", "checkpoint_timeout": "1h"}
    for trial in range(5):  # a busy machine may take longer than the writer's delay, which cannot be longer
        lost.clear()
        crashes = iter([True])
        with postgres(tmp_path / f"pg{trial}", settings=lazy) as server:
            prepare(server.dsn, leads_file)
            with Pool(server.dsn, timeout=60) as pool, monkeypatch.context() as patch:
                patch.setattr("mailgenius.importer.job.Loader", Unlucky)
                report = run_or_resume(pool, leads_file, "skip")
                assert fingerprint(pool) == table
        assert account(report) == counts
        if len(lost) == 2:
            break
    assert len(lost) == 2, "the crash took nothing"
    assert lost[0] > lost[1] == 0


def test_a_full_disk_stops_the_import_and_resume_finishes_it(tmp_path: Path, leads_file: str) -> None:
    disk = tmp_path / "small disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of our own needs the right to mount")
    big = tmp_path / "big.csv"
    facts = write_leads(big, 120_000, seed=5)
    try:
        with postgres(disk / "pg", settings={"max_wal_size": "48MB", "min_wal_size": "32MB"}) as server:
            with Pool(server.dsn) as pool:
                migrate(pool)
            free = os.statvfs(disk)
            ballast = disk / "ballast"
            ballast.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - (24 << 20)))
            with Pool(server.dsn, timeout=5) as pool, pytest.raises(errors.MailgeniusError):
                run_or_resume(pool, str(big), "skip")
            ballast.unlink()
            server.restart("immediate")
            with Pool(server.dsn, timeout=60) as pool:
                report = run_or_resume(pool, str(big), "skip")
                assert report.rows == facts.rows
                assert report.inserted == pool.fetch_value("select count(*) from mailgenius.leads")
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", str(disk)], check=True, capture_output=True)
