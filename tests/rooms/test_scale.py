"""Ten million rows, in a process of their own: the account is exact and memory has a bound (``make scale``)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.data import write_leads
from mailgenius.importer import ImportReport

MIB = 1 << 20
MAIN = """
import json, sys
from pathlib import Path
import msgspec
from mailgenius.importer import Importer
from mailgenius.pool import Pool

def peak():
    return next(int(s.split()[1]) for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))

conninfo, path, kind = sys.argv[1:]
with Pool(conninfo) as pool:
    pool.fetch("select 1")
    before = peak()
    source = path if kind == "path" else iter(lambda f=open(path, "rb"): f.read(1 << 20), b"")
    report = Importer(pool).run(source, workspace="scale")
print(json.dumps({"peak": (peak() - before) * 1024, "report": msgspec.to_builtins(report)}))
"""


@pytest.mark.scale
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["path", "stream"])
def test_ten_million_rows(database: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "leads.csv"
    facts = write_leads(path, 10_000_000, seed=3)
    done = subprocess.run([sys.executable, "-c", MAIN, database, str(path), kind], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    report = ImportReport(**{**found["report"], "problems": [], "duplicate_lines": []})
    assert (report.rows, report.inserted, report.duplicates, report.rejected) == (
        facts.rows,
        facts.inserted,
        facts.duplicates,
        facts.rejected,
    )
    assert report.reasons == facts.reasons
    print(f"{kind}: peak {found['peak'] / MIB:.0f} MiB above the interpreter, {report.seconds:.0f} s")
    assert found["peak"] < 512 * MIB
