"""The generated files are what their facts say, read with Python's own csv module."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from benchmarks import data

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    home = tmp_path_factory.mktemp("leads")
    raw, clean = home / "raw.csv", home / "clean.copy"
    return data.Dataset(raw, clean, data.write_leads(raw, ROWS, clean=clean, workspace=9))


def records(path: Path) -> list[tuple[int, list[str]]]:
    """(line the record begins on, fields), without the header."""
    with path.open(newline="", encoding="utf-8") as f:
        reader = csv.reader(f)
        found = []
        before = 0
        for row in reader:
            found.append((before + 1, row))
            before = reader.line_num
    return found[1:]


def clean_rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_row_is_accounted_for(made: data.Dataset) -> None:
    facts = made.facts
    assert len(records(made.raw)) == facts.rows == ROWS
    assert facts.inserted + facts.existing + facts.duplicates + facts.rejected == ROWS
    assert sum(facts.reasons.values()) == facts.rejected
    assert made.raw.stat().st_size == facts.bytes
    assert 0.02 * ROWS < facts.rejected < 0.04 * ROWS
    assert 0.015 * ROWS < facts.duplicates < 0.025 * ROWS
    assert len(facts.reasons) >= 15


def test_clean_file_holds_each_accepted_lead_once(made: data.Dataset) -> None:
    rows = clean_rows(made.clean)
    emails = [r[1] for r in rows]
    assert len(emails) == len(set(emails)) == made.facts.inserted
    assert {len(r) for r in rows} == {data.COLUMNS.count(",") + 1}
    assert {r[0] for r in rows} == {"9"}
    assert data.crc_of(emails) == made.facts.email_crc
    assert all(e == e.lower() and e.count("@") == 1 and e.partition("@")[2].isascii() for e in emails)


def test_named_rows_are_where_they_are_said_to_be(made: data.Dataset) -> None:
    at = dict(records(made.raw))
    header = len(data.HEADER.split(","))
    for line, reason in made.facts.first_rejects:
        row = at[line]
        assert (len(row) != header) == (reason == "row.fields")
        assert (row[0] == "") == (reason == "email.empty")
        assert ("@" not in row[0] and row[0] != "") == (reason == "email.no_at")
    idn = dict(data._Pools().idn)
    for line, first in made.facts.first_duplicates:
        assert first < line
        one, two = (at[n][0].strip().lower().partition("@") for n in (line, first))
        assert (one[0], idn.get(one[2], one[2])) == (two[0], idn.get(two[2], two[2]))


def test_holds_what_real_files_hold(made: data.Dataset) -> None:
    text = made.raw.read_text(encoding="utf-8")
    rows = [r for _, r in records(made.raw)]
    assert any('"' in r[4] for r in rows)
    assert any("\n" in r[4] for r in rows)
    assert any("," in r[4] for r in rows)
    assert "João" in text
    assert "李" in text
    assert 0.002 * ROWS < sum(not r[0].partition("@")[2].isascii() for r in rows) < 0.01 * ROWS
    assert any(not r[0].partition("@")[0].isascii() for r in rows)


def test_same_arguments_same_bytes_and_other_ranges_share_no_address(tmp_path: Path, made: data.Dataset) -> None:
    again = data.write_leads(tmp_path / "again.csv", ROWS)
    assert again == made.facts
    assert (tmp_path / "again.csv").read_bytes() == made.raw.read_bytes()
    known = data.sample_emails(made.clean, 500, made.facts.accepted)
    clean = tmp_path / "next.copy"
    facts = data.write_leads(tmp_path / "next.csv", 5000, seed=8, start=ROWS, existing=known, clean=clean)
    assert 400 <= facts.existing <= 500
    before, after = ({r[1] for r in clean_rows(p)} for p in (made.clean, clean))
    assert len(before & after) == facts.existing
    assert len(after) == facts.accepted
