"""Rejects files: what was refused comes back unchanged, and one bad record never spoils the next."""

import io
import random
import time
from pathlib import Path

import pytest

from mailgenius._native import REASONS, Batch, CsvScanner
from mailgenius.errors import ConfigError
from mailgenius.importer.dialect import Dialect
from mailgenius.importer.header import match
from mailgenius.importer.rejects import RejectsWriter

COMMA = Dialect(b",", b'"')


def scan(data: bytes, dialect: Dialect) -> list[tuple[int, str, bytes, list[bytes]]]:
    """(line, reason, raw, fields) of each record, as the import reads them."""
    scanner, batch = CsvScanner(delimiter=dialect.delimiter, quote=dialect.quote), Batch()
    out, at = [], 0
    while at < len(data):
        used = scanner.scan(batch, data, at, len(data), True, 100_000)
        assert used
        at += used
        out += [(batch.line(i), REASONS[batch.error(i)[0]], batch.raw(i), batch.row(i)) for i in range(len(batch))]
    return out


def written(dialect: Dialect, header: list[bytes], rows: list[tuple[int, str, str, bytes]]) -> bytes:
    file = io.BytesIO()
    with RejectsWriter(file, header, dialect) as writer:
        for line, column, reason, raw in rows:
            writer.write(line, column, reason, raw)
        assert writer.count == len(rows)
    return file.getvalue()


def test_what_it_looks_like() -> None:
    assert written(
        COMMA,
        [b"email", b"name, full"],
        [(2, "email", "email.no_at", b"joe,Joe"), (5, "name, full", "field.nul", b' x@y.zz , "Smith, ""J""\nJr" ')],
    ) == (
        b'mg_line,mg_column,mg_reason,email,"name, full"\n'
        b"2,email,email.no_at,joe,Joe\n"
        b'5,"name, full",field.nul, x@y.zz , "Smith, ""J""\nJr" \n'
    )


@pytest.mark.parametrize(
    "dialect", [COMMA, Dialect(b";", b'"'), Dialect(b"\t", b'"'), Dialect(b"|", b"'"), Dialect(b",", b"")]
)
def test_round_trip(dialect: Dialect) -> None:
    """Every record of random text is one record of the rejects file, with the same fields if it was sound."""
    rng = random.Random(f"{dialect}")
    pieces = [b"a", b"bc", b"@", b" ", b"\t", b"\0", b"\xff", b"\xc3\xa9", b"=1+1", b"\n", b"\r\n", b"\r"]
    pieces += [dialect.delimiter] * 4 + [dialect.quote or b'"'] * 3
    seen = set()
    for _ in range(3000):
        text = b"".join(rng.choices(pieces, k=rng.randrange(1, 30)))
        records = scan(text, dialect)
        data = written(dialect, [b"e", b"n"], [(line, "", reason, raw) for line, reason, raw, _ in records])
        back = scan(data, dialect)
        assert len(back) == len(records) + 1, text
        for (line, reason, raw, fields), (_, now, again, values) in zip(records, back[1:], strict=True):
            seen.add(reason)
            assert now == "ok", text
            assert values[:3] == [b"%d" % line, b"", reason.encode()]
            if reason == "ok":
                assert values[3:] == fields, text
                assert again == dialect.delimiter.join((values[0], b"", values[2], raw)), text
    assert seen >= ({"ok", "row.quote_unclosed"} if dialect.quote else {"ok"})


def test_an_open_quote_costs_its_own_record_only() -> None:
    text = b'email,name,city\na@b.co,"Smith, J",Rio\n"Jo, A",x@y.zz,"5"" pipe,Itu\nlast,b,Rio\n'
    records = scan(text, COMMA)
    assert [reason for _, reason, _, _ in records] == ["ok", "ok", "row.quote_unclosed", "ok"]
    data = written(COMMA, [b"email", b"name", b"city"], [(n, "", why, raw) for n, why, raw, _ in records[2:]])
    assert data == (
        b"mg_line,mg_column,mg_reason,email,name,city\n"
        b'3,,row.quote_unclosed,"Jo, A",x@y.zz,"""5"""" pipe",Itu\n'
        b"4,,ok,last,b,Rio\n"
    )


def test_a_corrected_file_is_rejected_again() -> None:
    """A rejects file of a rejects file says the new reasons, once."""
    first = written(COMMA, [b"email", b"a,b"], [(7, "a,b", "field.nul", b'joe,"x,y"'), (9, "", "row.fields", b"q")])
    header, *records = scan(first, COMMA)
    plan = match([name.decode() for name in header[3]])
    assert plan.mapping == {
        "mg_line": "ignore", "mg_column": "ignore", "mg_reason": "ignore", "email": "email", "a,b": "attribute:a,b",
    }  # fmt: skip
    second = written(COMMA, header[3], [(line, "email", "email.no_at", raw) for line, _, raw, _ in records])
    assert second == b'mg_line,mg_column,mg_reason,email,"a,b"\n2,email,email.no_at,joe,"x,y"\n3,email,email.no_at,q\n'
    odd = written(COMMA, header[3], [(1, "", "row.fields", b"a,b"), (2, "", "row.fields", b"")])
    assert odd.endswith(b"1,,row.fields,a,b\n2,,row.fields,\n")


def test_rows_without_raw_text() -> None:
    file = io.BytesIO()
    with RejectsWriter(file, [b"email", b"x"], COMMA) as writer:
        writer.write(1, "email", "email.no_at", b"", [b"joe", b'a "b", c'])
        writer.write(2, "", "email.empty", b"", [])
    assert file.getvalue().endswith(b'1,email,email.no_at,joe,"a ""b"", c"\n2,,email.empty,\n')


def test_places(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_bytes(b"old\n" * 100)
    writer = RejectsWriter(str(path), [b"email"], COMMA, source=str(tmp_path / "leads.csv"))
    assert path.read_bytes() == b""
    writer.write(2, "email", "email.no_at", b"jo\xe9")
    writer.flush()
    assert path.read_bytes() == b"mg_line,mg_column,mg_reason,email\n2,email,email.no_at,jo\xe9\n"
    writer.close()
    writer.close()
    text = io.StringIO()
    with RejectsWriter(text, [b"email"], COMMA) as writer:
        writer.write(2, "email", "email.no_at", "joé".encode() + b"\xff")
    assert text.getvalue() == "mg_line,mg_column,mg_reason,email\n2,email,email.no_at,joé\ufffd\n"
    assert not text.closed
    with pytest.raises(ConfigError, match="is the source itself"):
        RejectsWriter(path, [b"email"], COMMA, source=str(path))
    assert path.stat().st_size
    for bad in (tmp_path, tmp_path / "no" / "x.csv"):
        with pytest.raises(ConfigError, match="cannot be written"):
            RejectsWriter(bad, [b"email"], COMMA)


@pytest.mark.alone
def test_sixty_thousand_rejects_are_quick(tmp_path: Path) -> None:
    raw = b'user123456@example,"Maria, Silva",+55 11 91234-5678,Acme,Rio'
    fields = raw.split(b",")
    started = time.perf_counter()
    with RejectsWriter(tmp_path / "r.csv", [b"email"], COMMA) as writer:
        for line in range(60_000):
            writer.write(line, "email", "email.domain_no_dot", raw, fields)
    assert time.perf_counter() - started < 1.5  # 0.2 s where nothing else runs
