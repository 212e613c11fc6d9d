"""The importer against a real PostgreSQL: every outcome, every option, and that the account is exact."""

from __future__ import annotations

import gzip
import io
import threading
from pathlib import Path

import pytest

from mailgenius import errors
from mailgenius.config import ImporterSettings
from mailgenius.importer import Importer, ImportReport, Progress
from mailgenius.leads import Leads
from mailgenius.pool import Pool

HEADER = "E-mail,First name,Last name,Score,Tags,Plan\n"

#: Small enough that even a few thousand rows make several runs, lanes, spilled blocks and chunks.
TINY = ImporterSettings(threads=2, block_bytes=16 << 10, run_bytes=64 << 10, spill_bytes=0, chunk_rows=300)


@pytest.fixture
def importer(pool: Pool) -> Importer:
    return Importer(pool)


def table(pool: Pool, workspace: str = "acme") -> list[tuple[object, ...]]:
    """Everything that two equal imports must agree on."""
    return pool.fetch(
        "select l.email, first_name, last_name, phone, company, city, country, tags, attributes, status, score"
        " from mailgenius.leads l join mailgenius.workspaces w on w.id = l.workspace_id where w.slug = %s order by 1",
        (workspace,),
    )


def lines(count: int, start: int = 0) -> str:
    return "".join(f"user{i:06d}@example.com,Name{i},Last,{i % 100},a;b,free\n" for i in range(start, start + count))


def outcomes(report: ImportReport) -> dict[str, int]:
    names = ("inserted", "updated", "existing", "duplicates", "suppressed", "rejected")
    counts = {name: getattr(report, name) for name in names}
    assert sum(counts.values()) == report.rows
    return {name: count for name, count in counts.items() if count}


def test_who_was_erased_does_not_come_back(importer: Importer, pool: Pool) -> None:
    data = (HEADER + "ana@example.com,Ana,,,,\njosé@bücher.example,José,,,,\nbob@example.com,Bob,,,,\n").encode()
    importer.run(data, workspace="acme")
    leads = Leads(pool)
    assert leads.delete("acme", ["ana@example.com", "josé@bücher.example"]) == 2
    report = importer.run(data, workspace="acme")
    assert outcomes(report) == {"existing": 1, "suppressed": 2}
    assert leads.count("acme") == 1
    assert outcomes(importer.run(data, workspace="other")) == {"inserted": 3}


def test_every_row_ends_in_exactly_one_outcome(importer: Importer, pool: Pool) -> None:
    Leads(pool).suppress("acme", ["gone@example.com"], reason="unsubscribed")
    importer.run((HEADER + "old@example.com,Old,,,,\n").encode(), workspace="acme")
    data = (
        HEADER
        + "new@example.com,Ana,Souza,12,vip;2026,pro\n"
        + "OLD@example.com,Other,,,,\n"
        + "gone@example.com,,,,,\n"
        + "New@Example.com,Copy,,,,\n"
        + "no-at.example.com,,,,,\n"
        + "short@example.com\n"
        + "score@example.com,,,many,,\n"
    )
    report = importer.run(data.encode(), workspace="acme", tags=["expo"])
    assert outcomes(report) == {"inserted": 1, "existing": 1, "suppressed": 1, "duplicates": 1, "rejected": 3}
    assert report.reasons == {"email.no_at": 1, "row.fields": 1, "int.syntax": 1}
    assert [(p.line, p.column, p.reason) for p in report.problems] == [
        (6, "E-mail", "email.no_at"),
        (7, "", "row.fields"),
        (8, "Score", "int.syntax"),
    ]
    assert report.problems[0].value == "no-at.example.com"
    assert report.duplicate_lines == [(5, 2)]
    assert report.mapping["Plan"] == "attribute:Plan"
    new = table(pool)[0]
    assert new == (
        "new@example.com", "Ana", "Souza", None, None, None, None, ["vip", "2026", "expo"], {"Plan": "pro"}, "active", 12,
    )  # fmt: skip
    assert table(pool)[1][:2] == ("old@example.com", "Old")


def test_international_addresses_are_stored_normalised(importer: Importer, pool: Pool) -> None:
    data = "email\nJosé@BÜCHER.example\nana@münchen.de\nANA@xn--mnchen-3ya.de\nbad@xn--a.de\n"
    report = importer.run(data.encode(), workspace="acme")
    assert outcomes(report) == {"inserted": 2, "duplicates": 1, "rejected": 1}
    assert [row[0] for row in table(pool)] == ["ana@xn--mnchen-3ya.de", "josé@xn--bcher-kva.example"]
    assert report.duplicate_lines == [(4, 3)]


def test_update_changes_what_the_file_says_and_erases_nothing(importer: Importer, pool: Pool) -> None:
    importer.run(
        (HEADER + "a@x.com,Ana,Silva,5,one,free\nb@x.com,Bia,,7,,\nc@x.com,Caio,,,,\n").encode(), workspace="acme"
    )
    data = "email,first name,score,tags,City,Plan\na@x.com,,9,two;one,Recife,pro\nb@x.com,Bia,,,,\nd@x.com,Davi,1,,,\n"
    report = importer.run(data.encode(), workspace="acme", on_existing="update")
    assert outcomes(report) == {"updated": 1, "existing": 1, "inserted": 1}
    a, b = table(pool)[:2]
    assert a == ("a@x.com", "Ana", "Silva", None, None, "Recife", None, ["one", "two"], {"Plan": "pro"}, "active", 9)
    assert b[1] == "Bia"
    assert b[-1] == 7


def test_update_of_chosen_columns(importer: Importer, pool: Pool) -> None:
    importer.run(b"email,first_name,score\na@x.com,Ana,5\n", workspace="acme")
    importer.run(
        b"email,first_name,score\na@x.com,Eva,6\n", workspace="acme", on_existing="update", update_columns=["score"]
    )
    assert table(pool)[0][1] == "Ana"
    assert table(pool)[0][-1] == 6


def test_who_opted_out_stays_out(importer: Importer, pool: Pool) -> None:
    importer.run(b"email,status\na@x.com,unsubscribed\nb@x.com,pending\n", workspace="acme")
    report = importer.run(b"email,status\na@x.com,active\nb@x.com,active\n", workspace="acme", on_existing="update")
    assert outcomes(report) == {"updated": 1, "existing": 1}
    assert [row[-2] for row in table(pool)] == ["unsubscribed", "active"]


def test_fail_imports_nothing(importer: Importer, pool: Pool) -> None:
    importer.run(b"email\nuser000700@example.com\n", workspace="acme")
    with pytest.raises(errors.ImportConflict, match=r"on line 702\b.*Nothing was imported") as caught:
        Importer(pool, TINY).run((HEADER + lines(2000)).encode(), workspace="acme", on_existing="fail")
    assert caught.value.import_id is not None
    assert len(table(pool)) == 1
    assert importer.run((HEADER + lines(500)).encode(), workspace="acme", on_existing="fail").inserted == 500


def test_many_runs_lanes_and_chunks_give_the_same_table_as_one(pool: Pool) -> None:
    data = (HEADER + lines(20_000) + lines(3_000, 500) + "bad,,,,,\n").encode()
    small = Importer(pool, TINY).run(data, workspace="small")
    large = Importer(pool, ImporterSettings(threads=1, lanes=1)).run(data, workspace="large")
    assert outcomes(small) == outcomes(large) == {"inserted": 20_000, "duplicates": 3_000, "rejected": 1}
    assert table(pool, "small") == table(pool, "large")


def test_duplicates_keep_the_first_line_whatever_the_threads(pool: Pool, tmp_path: Path) -> None:
    rows = [f"d{i % 700}@x.com,{i}" for i in range(30_000)]
    listed = tmp_path / "dups.csv"
    report = Importer(pool, TINY).run(
        ("email,first name\n" + "\n".join(rows)).encode(), workspace="acme", duplicates=listed
    )
    assert outcomes(report) == {"inserted": 700, "duplicates": 29_300}
    assert {row[0]: row[1] for row in table(pool)} == {f"d{i}@x.com": str(i) for i in range(700)}
    with listed.open() as file:
        assert file.readline() == "line,first_line,email\n"
        for row in file:
            line, first, email = row.strip().split(",")
            assert (int(line) - 2) % 700 == int(first) - 2
            assert email == f"d{int(first) - 2}@x.com"


def test_one_address_over_and_over(importer: Importer, pool: Pool, tmp_path: Path) -> None:
    """More duplicates of one key than a chunk lists at once (MG_CHUNK_DUPS)."""
    listed = tmp_path / "dups.csv"
    report = importer.run(b"email\n" + b"a@x.com\n" * 300_000, workspace="acme", duplicates=listed)
    assert outcomes(report) == {"inserted": 1, "duplicates": 299_999}
    rows = listed.read_text().splitlines()[1:]
    assert sorted(int(row.split(",")[0]) for row in rows) == list(range(3, 300_002))


def test_rejects_file_is_importable_after_correction(importer: Importer, pool: Pool, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    data = 'email,company,score\nok@x.com,"A, ""B""",1\nbad.x.com,"C, ""D""",2\nlate@x.com,"two\nlines",x\n'
    assert importer.run(data.encode(), workspace="acme", rejects=rejects).rejected == 2
    text = rejects.read_text()
    assert text.splitlines()[0] == "mg_line,mg_column,mg_reason,email,company,score"
    rejects.write_text(text.replace("bad.x.com", "bad@x.com").replace(",x\n", ",3\n"))
    again = importer.run(rejects, workspace="acme")
    assert outcomes(again) == {"inserted": 2}
    assert [(row[0], row[4], row[-1]) for row in table(pool)] == [
        ("bad@x.com", 'C, "D"', 2),
        ("late@x.com", "two\nlines", 3),
        ("ok@x.com", 'A, "B"', 1),
    ]


@pytest.mark.parametrize("kind", ["path", "str", "gzip", "file", "text", "bytes", "iterable", "generator"])
def test_sources(importer: Importer, tmp_path: Path, kind: str) -> None:
    data = (HEADER + lines(1000)).encode()
    path = tmp_path / "leads with spaces.csv"
    path.write_bytes(gzip.compress(data) if kind == "gzip" else data)
    source: object = {
        "path": path,
        "str": str(path),
        "gzip": path,
        "file": io.BytesIO(data),
        "text": io.StringIO(data.decode()),
        "bytes": data,
        "iterable": [data[i : i + 777] for i in range(0, len(data), 777)],
        "generator": (data[i : i + 777] for i in range(0, len(data), 777)),
    }[kind]
    assert outcomes(importer.run(source, workspace="acme")) == {"inserted": 1000}


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_arrow_streams(importer: Importer, pool: Pool, library: str) -> None:
    module = pytest.importorskip(library)
    columns = {"E-mail": ["a@x.com", None, "b@x.com"], "score": [1, 2, 3], "plan": ["free", "pro", None]}
    data = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    report = importer.run(data, workspace="acme")
    assert outcomes(report) == {"inserted": 2, "rejected": 1}
    assert [(row[0], row[8], row[-1]) for row in table(pool)] == [("a@x.com", {"plan": "free"}, 1), ("b@x.com", {}, 3)]
    assert [(p.line, p.reason) for p in report.problems] == [(2, "email.empty")]


def test_dry_run_counts_and_stores_nothing(importer: Importer, pool: Pool) -> None:
    assert outcomes(importer.run(b"email\na@x.com\n", workspace="acme", dry_run=True)) == {"inserted": 1}
    assert pool.fetch_value("select count(*) from mailgenius.workspaces") == 0
    importer.run(b"email\na@x.com\n", workspace="acme")
    report = importer.run(b"email\na@x.com\nb@x.com\nb@x.com\nc\n", workspace="acme", dry_run=True)
    assert outcomes(report) == {"existing": 1, "inserted": 1, "duplicates": 1, "rejected": 1}
    assert report.import_id is None
    assert len(table(pool)) == 1
    assert pool.fetch_value("select count(*) from mailgenius.imports") == 1


def test_a_bad_source_leaves_nothing_behind(importer: Importer, pool: Pool) -> None:
    with pytest.raises(errors.SourceError, match="e-mail"):
        importer.run(b"name,city\nAna,Recife\n", workspace="acme")
    assert pool.fetch_value("select count(*) from mailgenius.workspaces") == 0
    with pytest.raises(errors.ConfigError, match="not a workspace name"):
        importer.run(b"email\na@x.com\n", workspace="Not A Slug")


def test_preview(importer: Importer, pool: Pool) -> None:
    shown = importer.preview(b"Correo;Nombre;Fecha de alta\na@x.com;Ana;31/12/2025\nb;;\n", rows=5)
    assert (shown.delimiter, shown.has_header, shown.dates) == (";", True, "dmy")
    assert shown.mapping["Correo"] == "email"
    assert [(row.line, row.outcome, row.reason) for row in shown.rows] == [
        (2, "accepted", "ok"),
        (3, "rejected", "email.no_at"),
    ]
    assert shown.rows[0].values["Nombre"] == "Ana"
    assert pool.fetch_value("select count(*) from mailgenius.workspaces") == 0


def test_undo_deletes_restores_and_keeps_what_changed_since(importer: Importer, pool: Pool) -> None:
    importer.run(b"email,first_name\na@x.com,Ana\nb@x.com,Bia\n", workspace="acme")
    before = table(pool)
    report = importer.run(
        b"email,first_name\na@x.com,X\nb@x.com,Y\nc@x.com,Z\nd@x.com,W\n", workspace="acme", on_existing="update"
    )
    assert outcomes(report) == {"updated": 2, "inserted": 2}
    pool.execute("update mailgenius.leads set score = 99, updated_at = now() where email in ('b@x.com', 'd@x.com')")
    assert report.import_id is not None
    undone = importer.undo(report.import_id)
    assert (undone.deleted, undone.restored, undone.kept) == (1, 1, 2)
    after = {row[0]: row for row in table(pool)}
    assert after["a@x.com"] == before[0]
    assert after["b@x.com"][1] == "Y"
    assert "c@x.com" not in after
    assert after["d@x.com"][-1] == 99
    assert importer.undo(report.import_id).deleted == 0
    with pytest.raises(errors.ImportFailed, match="was undone"):
        importer.resume(report.import_id)


class Stop(Exception):
    pass


def stop_before_loading(progress: Progress) -> None:
    if progress.phase == "load":
        raise Stop


def stop_when_loading(progress: Progress) -> None:
    if progress.rows_loaded:
        raise Stop


def test_an_interrupted_import_is_resumed(pool: Pool, tmp_path: Path) -> None:
    path, rejects, duplicates = tmp_path / "a.csv", tmp_path / "r.csv", tmp_path / "d.csv"
    path.write_text(HEADER + lines(15_000) + lines(500, 7_000) + "bad,,,,,\n")
    importer = Importer(pool, TINY)
    with pytest.raises(Stop):
        importer.run(path, workspace="acme", rejects=rejects, duplicates=duplicates, on_progress=stop_when_loading)
    (entry,) = importer.imports("acme")
    assert entry.state == "failed"
    rejects.unlink()
    report = importer.resume(entry.import_id)
    assert outcomes(report) == {"inserted": 15_000, "duplicates": 500, "rejected": 1}
    assert rejects.read_text().count("\n") == 2
    assert duplicates.read_text().count("\n") == 501
    Importer(pool).run(path, workspace="other")
    assert table(pool) == table(pool, "other")
    assert importer.resume(entry.import_id) == report
    assert importer.imports("acme")[0].state == "done"


def test_resume_refuses_other_bytes_and_asks_for_streams(pool: Pool, tmp_path: Path) -> None:
    importer = Importer(pool, TINY)
    data = (HEADER + lines(5_000)).encode()
    with pytest.raises(Stop):
        importer.run(io.BytesIO(data), workspace="acme", on_progress=stop_when_loading)
    (entry,) = importer.imports("acme")
    with pytest.raises(errors.SourceError, match=r"give the same data as resume\(import_id, source="):
        importer.resume(entry.import_id)
    with pytest.raises(errors.SourceError, match="does not hold the bytes"):
        importer.resume(entry.import_id, source=data.replace(b"Name7,", b"Name8,"))
    assert importer.resume(entry.import_id, source=data).inserted == 5_000
    with pytest.raises(errors.NotFound, match="no import 987654"):
        importer.resume(987654)


def test_atomic_leaves_nothing_when_interrupted(pool: Pool) -> None:
    importer = Importer(pool, TINY)
    data = (HEADER + lines(10_000)).encode()
    with pytest.raises(Stop):
        importer.run(data, workspace="acme", atomic=True, on_progress=stop_before_loading)
    assert table(pool) == []
    assert outcomes(importer.run(data, workspace="acme", atomic=True)) == {"inserted": 10_000}


def test_two_imports_and_the_app_at_once_are_counted_exactly(pool: Pool) -> None:
    data = (HEADER + lines(12_000)).encode()
    more = (HEADER + lines(12_000, 6_000)).encode()
    reports: dict[str, ImportReport] = {}
    workspace = Leads(pool).ensure_workspace("acme")

    def run(name: str, source: bytes) -> None:
        reports[name] = Importer(pool, TINY).run(source, workspace="acme")

    def app() -> None:
        nonlocal added
        for i in range(0, 18_000, 40):
            added += pool.execute(
                "insert into mailgenius.leads (workspace_id, email) values (%s, %s) on conflict do nothing",
                (workspace, f"user{i:06d}@example.com"),
            )

    added = 0
    threads = [
        threading.Thread(target=run, args=("a", data)),
        threading.Thread(target=run, args=("b", more)),
        threading.Thread(target=app),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    a, b = reports["a"], reports["b"]
    assert a.inserted + a.existing == 12_000
    assert b.inserted + b.existing == 12_000
    assert a.inserted + b.inserted + added == 18_000 == len(table(pool))


def test_options_that_contradict(importer: Importer) -> None:
    with pytest.raises(errors.ConfigError, match="on_existing: 'merge' is none of"):
        importer.run(b"email\n", workspace="acme", on_existing="merge")
    with pytest.raises(errors.ConfigError, match='update_columns: has no meaning with on_existing="skip"'):
        importer.run(b"email\n", workspace="acme", update_columns=["score"])
    with pytest.raises(errors.ConfigError, match="update_columns: 'email' is none of"):
        importer.run(b"email\n", workspace="acme", on_existing="update", update_columns=["email"])
    with pytest.raises(errors.ConfigError, match="tags: give a list"):
        importer.run(b"email\n", workspace="acme", tags="vip")
    with pytest.raises(errors.ConfigError, match="delimiter"):
        importer.run(b"email\n", workspace="acme", delimiter="ab")


def test_column_names_never_become_sql(importer: Importer, pool: Pool) -> None:
    header = 'email,"x\'); drop table mailgenius.leads; --","""quoted"" %s %(a)s {}"\n'
    importer.run((header + "a@x.com,1,2\n").encode(), workspace="acme")
    importer.run((header + "a@x.com,3,\n").encode(), workspace="acme", on_existing="update")
    assert table(pool)[0][8] == {"x'); drop table mailgenius.leads; --": "3", '"quoted" %s %(a)s {}': "2"}


def test_progress_ends_where_the_report_does(pool: Pool) -> None:
    seen: list[Progress] = []
    report = Importer(pool, TINY).run((HEADER + lines(3000)).encode(), workspace="acme", on_progress=seen.append)
    assert seen[-1].rows_loaded == seen[-1].rows_total == report.inserted
    assert {p.phase for p in seen} == {"read", "load"}
