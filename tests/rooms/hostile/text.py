"""Hostile bytes, line ends, delimiters, quotes and encodings."""

import random
from collections.abc import Iterator

from tests.rooms.hostile.case import COLUMNS, HEADER, Case, good, table


def bad_bytes() -> Iterator[Case]:
    """Every way to be invalid, in every column: that row is rejected and no other."""
    kinds = {
        "a byte that UTF-8 never has": b"\xff",
        "a lone continuation": b"a\x80b",
        "an overlong slash": b"\xc0\xaf",
        "half a surrogate pair": b"\xed\xa0\x80",
        "beyond the last code point": b"\xf4\x90\x80\x80",
        "a character cut short": b"Jo\xc3",
        "latin-1": b"Jos\xe9",
    }
    for column in COLUMNS:
        for what, data in kinds.items():
            changes = {column: b"jo%s@example.com" % data if column == "email" else data}
            yield Case(
                f"{what} in {column}",
                table(good(1), good(2, **changes), good(3)),
                accepted=2,
                rejected={3: "row.encoding"},
                options={"encoding": "utf-8"},
            )
        reason = {
            "email": "email.control",
            "status": "status.unknown",
            "score": "int.syntax",
            "created_at": "date.syntax",
        }.get(column, "field.nul")
        nul = {column: b"j\0o@example.com" if column == "email" else b"1\0"}
        yield Case(f"NUL in {column}", table(good(1), good(2, **nul), good(3)), accepted=2, rejected={3: reason})


def line_ends() -> Iterator[Case]:
    rows = [HEADER, good(1), good(2), good(3)]
    bare = [row.rstrip(b"\n") for row in rows]
    for name, end in {
        "LF": b"\n",
        "CRLF": b"\r\n",
        "CR": b"\r",
        "LFCR": b"\n\r",
        "two LF": b"\n\n",
        "CRCRLF": b"\r\r\n",
    }.items():
        yield Case(f"line ends {name}", end.join(bare) + end, accepted=3)
        yield Case(f"line ends {name}, none at the end", end.join(bare), accepted=3)
    yield Case(
        "line ends mixed", b"".join(map(b"".join, zip(bare, [b"\r", b"\n", b"\r\n", b"\r\n"], strict=True))), accepted=3
    )
    yield Case("blank lines all over", b"\n\r\n  \n\t\n" + b"\n \r\n\r\r".join(bare) + b"\n\n \t \n", accepted=3)
    yield Case("form feeds and separators end no line", table(good(1, note=b"a\x0bb\x0cc\x1cd\x1ee")), accepted=1)
    yield Case("NEL and LINE SEPARATOR end no line", table(good(1, note="a\x85b\u2028c\u2029d".encode())), accepted=1)
    yield Case("ctrl-Z at the end", table(good(1)) + b"\x1a", accepted=1, rejected={3: "row.fields"})
    yield Case("NULs behind the end", table(good(1)) + bytes(5000), accepted=1, rejected={3: "row.fields"})
    yield Case(
        "line ends inside quotes",
        table(good(1, note=b'"a\r\nb\rc\nd"'), good(2), good(3, score=b"x")),
        accepted=2,
        rejected={7: "int.syntax"},
    )


def delimiters() -> Iterator[Case]:
    def text(delimiter: str, quote: str) -> bytes:
        lines = ["email,city,note", "a@example.com,Rio,'1,2;3\t4|5'", "b@example.com,Itu,x", "no,y,'it''s'"]
        table = str.maketrans({",": delimiter, "'": quote})
        return "\n".join(line.translate(table) for line in lines).encode()

    for name, delimiter in {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}.items():
        for quote in ('"', "'"):
            yield Case(
                f"{name} and {quote}",
                text(delimiter, quote),
                accepted=2,
                rejected={4: "email.no_at"},
                options={} if quote == '"' else {"quote": quote},
            )
        yield Case(
            f"sep={name}",
            f"sep={delimiter}\r\n".encode() + text(delimiter, '"'),
            accepted=2,
            rejected={5: "email.no_at"},
        )
    yield Case("a given delimiter", b"email~note\na@example.com~x\n", accepted=1, options={"delimiter": "~"})
    yield Case("one column", b"email\na@example.com\nb@example.com\n", accepted=2)
    yield Case("one column of quoted fields", b'"email"\n"a@example.com"\n"b@example.com"\n', accepted=2)
    yield Case(
        "spaces around everything", b' email , note \n a@example.com , x \n "b@example.com" , "y" \n', accepted=2
    )
    yield Case("tabs around commas", b"email\t,\tnote\na@example.com\t,\tx\n", accepted=1)


def encodings() -> Iterator[Case]:
    text = "email,nome,cidade\na@example.com,João,São Paulo\nb@example.com,Zoë,Maceió\n"
    for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"):
        yield Case(f"detected {name}", text.encode(name), accepted=2)
    yield Case("utf-16-be with a mark", b"\xfe\xff" + text.encode("utf-16-be"), accepted=2)
    for name in ("utf-16-le", "utf-16-be"):
        mark = "\ufeff".encode(name)
        yield Case(f"{name} of odd length", mark + text.encode(name) + b"\n", accepted=2, rejected={4: "row.fields"})
        yield Case(
            f"{name} cut within the last character",
            mark + text.encode(name)[:-3],
            accepted=1,
            rejected={3: "row.encoding"},
        )
        broken = text.replace("Zoë", "Zo\udc00").encode(name, "surrogatepass")
        yield Case(f"{name} with half a pair", mark + broken, accepted=1, rejected={3: "row.encoding"})
        yield Case(f"{name} that is only its mark", mark, error="byte order mark")
    yield Case("latin-1 as given", text.encode("latin-1"), accepted=2, options={"encoding": "latin-1"})
    yield Case("ascii as given", b"email\na@example.com\n", accepted=1, options={"encoding": "ascii"})
    yield Case("an encoding that is unknown", b"email\n", error="not supported", options={"encoding": "ebcdic"})
    yield Case(
        "mostly UTF-8, one row of cp1252",
        text.encode() + "c@example.com,José,Ceará\n".encode("cp1252"),
        accepted=2,
        rejected={4: "row.encoding"},
    )
    yield Case(
        "cp1252 with a byte it does not define",
        text.encode("cp1252") + b"c@example.com,\x81,x\n",
        accepted=2,
        rejected={4: "row.encoding"},
        options={"encoding": "cp1252"},
    )
    yield Case("UTF-32", text.encode("utf-32"), error="UTF-32")
    yield Case("Cyrillic cp1251", "email,имя\na@example.com,Иван Петров\n".encode("cp1251"), error="neither UTF-8 nor")
    yield Case("Shift-JIS", "email,名前\na@example.com,山田太郎\n".encode("shift-jis"), error="neither UTF-8 nor")
    yield Case("noise", random.Random(1).randbytes(20_000), error="neither UTF-8 nor")
    yield Case("NULs alone", bytes(10_000), error="no e-mail column")
    yield Case(
        "a mark before each row",
        text.replace("\n", "\n\ufeff").encode("utf-8-sig"),
        rejected={2: "email.control", 3: "email.control", 4: "row.fields"},
    )
    yield Case("only a mark", b"\xef\xbb\xbf", error="byte order mark")
    yield Case("two marks", b"\xef\xbb\xbf\xef\xbb\xbfemail\na@example.com\n", accepted=1)


def quotes() -> Iterator[Case]:
    yield Case(
        "a quote open to the end",
        table(good(1), good(2, note=b'"x'), good(3), good(4)),
        accepted=3,
        rejected={3: "row.quote_unclosed"},
    )
    yield Case("a quote open in the last byte", table(good(1)) + b'"', accepted=1, rejected={3: "row.quote_unclosed"})
    yield Case(
        "a quote open in the last field",
        table(good(1), good(2)[:-2] + b'"'),
        accepted=1,
        rejected={3: "row.quote_unclosed"},
    )
    yield Case(
        "an open quote in the header",
        b'email,"name\na@example.com,x\nb@example.com,y\n',
        error="first record.* cannot be read",
    )
    yield Case("text behind a closing quote", table(good(1, note=b'"a"b"c')), accepted=1)
    yield Case("a quote within a field", table(good(1, note=b'5" pipe'), good(2, note=b'say "hi"')), accepted=2)
    yield Case("only quotes", table(good(1, note=b'""'), good(2, note=b'""""'), good(3, note=b'""""""')), accepted=3)
    yield Case(
        "an odd number of quotes", table(good(1, note=b'"""'), good(2)), accepted=1, rejected={2: "row.quote_unclosed"}
    )
    # Where hardly any quote closes, quotes are taken to mean nothing.
    rows = [good(i, note=b'"open') for i in range(1, 51)]
    yield Case("an open quote in every row", table(*rows), accepted=50)
    # A quote that opens in the first row meets the one that opens in the third: neither swallows the row between.
    rows = [good(1, note=b'"open'), good(2), good(3, note=b'"open'), good(4)]
    stray = {2: "row.quote_unclosed", 4: "row.quote_unclosed"}
    yield Case("two stray quotes do not join the rows between", table(*rows), accepted=2, rejected=stray)
    yield Case("a quoted header", b'"email","first, last"\n"a@example.com","x, y"\n', accepted=1)
    yield Case("delimiters and lines in quotes", table(good(1, note=b'"a,b\nc;d\t|"'), good(2)), accepted=2)
    yield Case("quotes off", b'email;note\na@example.com;"open\nb@example.com;x\n', accepted=2, options={"quote": ""})


def ragged() -> Iterator[Case]:
    wrong = {3: "row.fields"}
    yield Case("a row too short", table(good(1), b"b@example.com,x\n", good(3)), accepted=2, rejected=wrong)
    yield Case("a row of one field", table(good(1), b"b@example.com\n", good(3)), accepted=2, rejected=wrong)
    yield Case("a row too long", table(good(1), good(2)[:-1] + b",y\n", good(3)), accepted=2, rejected=wrong)
    yield Case("empty fields too many", table(good(1), good(2)[:-1] + b",,, \n", good(3)), accepted=3)
    yield Case("a row of commas", table(good(1), b"," * 11 + b"\n", good(3)), accepted=2, rejected={3: "email.empty"})
    yield Case("a row of too many commas", table(good(1), b"," * 4000 + b"\n"), accepted=1, rejected={3: "email.empty"})
    yield Case("short rows filled up", table(good(1), b"b@example.com\n"), accepted=2, options={"pad_short_rows": True})
    yield Case(
        "short rows filled up, long ones not",
        table(good(1), good(2)[:-1] + b",y\n"),
        accepted=1,
        rejected=wrong,
        options={"pad_short_rows": True},
    )
    uneven = [b",".join([b"u%d@example.com" % i] * i) + b"\n" for i in range(1, 30)]
    yield Case(
        "every row of another length",
        table(*uneven),
        accepted=1,
        rejected={i + 1: "row.fields" for i in range(1, 30) if i != 12},
    )
    yield Case(
        "a header that is too short", b"email\na@example.com,x\nb@example.com\n", accepted=1, rejected={2: "row.fields"}
    )
