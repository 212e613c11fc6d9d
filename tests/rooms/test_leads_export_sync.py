# Made from test_leads_export_async.py by `python -m tools.twin`: edit that one.
"""Exports: complete, at one moment, safe to open, safe to interrupt."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard

from mailgenius.errors import ConfigError, NotFound
from mailgenius.importer import Importer
from mailgenius.leads import Attribute, Segment
from mailgenius.leads.export_text import EXPORTED
from mailgenius.leads.exporting_sync import BATCH

from .acme_sync import acme

MANY = 2 * BATCH + 1


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_csv(database: str, tmp_path: Path) -> None:
    with acme(database, MANY) as leads:
        to = tmp_path / "leads.csv"
        assert leads.export("acme", None, to) == MANY
        rows = table(to.read_text("utf-8"))
        assert list(rows[0]) == list(EXPORTED)
        assert [row["email"] for row in rows] == [f"p{n}@example.com" for n in range(1, MANY + 1)]
        lead = leads.get("acme", "p1@example.com")
        assert lead is not None
        assert rows[0]["tags"] == "a;b"
        assert json.loads(rows[0]["attributes"]) == {"n": 1}
        assert rows[0]["created_at"] == lead.created_at.isoformat().replace("Z", "+00:00")
        assert rows[0]["last_name"] == rows[0]["import_id"] == ""
        assert names(tmp_path) == ["leads.csv"]


def test_json_lines(database: str) -> None:
    with acme(database) as leads:
        few, to = Segment(attributes=[Attribute("n", "<=", 3)]), io.BytesIO()
        assert leads.export("acme", few, to, format="jsonl") == 3
        rows = [json.loads(line) for line in to.getvalue().splitlines()]
        assert [row["email"] for row in rows] == [f"p{n}@example.com" for n in (1, 2, 3)]
        assert (rows[0]["tags"], rows[0]["attributes"], rows[0]["last_name"]) == (["a", "b"], {"n": 1}, None)
        to = io.BytesIO()
        assert leads.export("acme", Segment(country="BR"), to, format="jsonl") == 0
        assert to.getvalue() == b""


def test_compressed(database: str, tmp_path: Path) -> None:
    with acme(database, MANY) as leads:
        plain = io.BytesIO()
        leads.export("acme", None, plain)
        to = tmp_path / "leads.csv.gz"
        assert leads.export("acme", None, str(to), compress="gzip") == MANY
        assert gzip.decompress(to.read_bytes()) == plain.getvalue()
        packed = io.BytesIO()
        leads.export("acme", None, packed, compress="zstd")
        assert not packed.closed
        packed.seek(0)
        assert zstandard.ZstdDecompressor().stream_reader(packed).read() == plain.getvalue()


def test_no_cell_is_a_formula(database: str) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=b", '=cmd|" /C calc"!A0', "", "ção"]
    people = [{"email": f"p{n}@example.com", "first_name": name, "score": -5} for n, name in enumerate(names)]
    people.append({"email": "=x@example.com", "tags": ["=1+1", "x"], "phone": "+55 11 5555"})
    with acme(database, 0) as leads:
        leads.upsert("acme", people)
        to = io.BytesIO()
        leads.export("acme", None, to)
        rows = {row["email"]: row for row in table(to.getvalue().decode())}
        for n, name in enumerate(names):
            row = rows[f"p{n}@example.com"]
            assert row["first_name"] == (f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name)
            assert row["score"] == "-5"
        assert (rows["'=x@example.com"]["tags"], rows["'=x@example.com"]["phone"]) == ("'=1+1;x", "'+55 11 5555")
        to = io.BytesIO()
        leads.export("acme", None, to, safe=False)
        assert sorted(row["first_name"] for row in table(to.getvalue().decode())) == sorted([*names, ""])


def test_an_export_comes_back_by_import(database: str, tmp_path: Path) -> None:
    with acme(database, 50) as leads:
        to = tmp_path / "leads.csv.zst"
        leads.export("acme", None, to, compress="zstd")
        importer = Importer(leads.pool)
        report = importer.run(to, workspace="copy", columns={"id": "ignore", "attributes": "ignore"})
        importer.close()
        assert report.inserted == 50
        assert leads.count("copy", Segment(tags_all=["a", "b"])) == 50


def test_one_moment(database: str) -> None:
    """What is written while it runs is not in it."""

    class Meddler(io.BytesIO):
        def write(self, data: Any) -> int:
            if data and not self.tell():
                with psycopg.connect(database, autocommit=True) as connection:
                    connection.execute("delete from mailgenius.leads where id % 2 = 0")
                    connection.execute("update mailgenius.leads set first_name = 'New'")
                    connection.execute(
                        "insert into mailgenius.leads (workspace_id, email) values (1, 'new@example.com')"
                    )
            return super().write(data)

    with acme(database, MANY) as leads:
        to = Meddler()
        assert leads.export("acme", None, to, format="jsonl") == MANY
        rows = [json.loads(line) for line in to.getvalue().splitlines()]
        assert [(row["email"], row["first_name"]) for row in rows] == [
            (f"p{n}@example.com", f"Ana {n}") for n in range(1, MANY + 1)
        ]


def test_a_failed_export_leaves_what_was_there(database: str, tmp_path: Path) -> None:
    with acme(database, MANY) as leads:
        to = tmp_path / "leads.csv"
        to.write_text("before")
        leads.pool.execute("alter table mailgenius.leads rename column phone to telephone")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            leads.export("acme", None, to)
        assert to.read_text() == "before"
        assert names(tmp_path) == ["leads.csv"]


def test_refusals(database: str, tmp_path: Path) -> None:
    with acme(database) as leads:
        wrong: Any
        for wrong, path in (
            ({"format": "xlsx"}, "format: 'xlsx' is none of csv, jsonl"),
            ({"compress": "bzip2"}, "compress: 'bzip2'"),
            ({"to": io.StringIO()}, "to: is a text file"),
            ({"to": 5}, "to: expected a path"),
            ({"segment": "vip"}, "segment: expected Segment"),
        ):
            with pytest.raises(ConfigError, match=path):
                leads.export("acme", **{"segment": None, "to": tmp_path / "x"} | wrong)
        with pytest.raises(FileNotFoundError):
            leads.export("acme", None, tmp_path / "none" / "x")
        with pytest.raises(NotFound):
            leads.export("nobody", None, tmp_path / "x")
        assert names(tmp_path) == []
