"""Hostile values, and files changed at random."""

import random
from collections.abc import Iterator

from tests.rooms.hostile.case import Case, good, table


def values() -> Iterator[Case]:
    for name, value in {
        "SQL": b"'); drop table mailgenius.leads; --",
        "a formula": b"=cmd|' /C calc'!A0",
        "COPY's end marker": b"\\.",
        "COPY's NULL": b"\\N",
        "backslashes": b"\\\\x00\\n\\",
        "control characters": bytes(range(1, 9)) + b"\x0b\x0c" + bytes(range(14, 32)) + b"\x7f",
        "characters that turn the text round": "\u202eabc\u2066".encode(),
        "emoji": "👩‍👩‍👧‍👦🏳️‍🌈".encode(),
        "characters beyond 16 bits": "𝄞\U0010ffff".encode(),
        "characters that are none": "\ufffe\uffff".encode(),
        "many combining marks": b"Z" + "\u0301".encode() * 90,
        "JSON": b'"{""a"": [1, ""\\u0000""]}"',
        "braces": b"{a;b;NULL}",
        "blanks": "\u00a0\u3000".encode(),
    }.items():
        changes = dict.fromkeys(("first_name", "last_name", "company", "city", "note", "tags"), value)
        if b"," in value and not value.startswith(b'"'):
            continue
        yield Case(f"{name} everywhere", table(good(1), good(2, **changes), good(3)), accepted=3)
    refused = {
        "score": {
            b"1.5": "int.syntax",
            b"1e3": "int.syntax",
            b"0x10": "int.syntax",
            b"--1": "int.syntax",
            b"2147483648": "int.range",
            b"-2147483649": "int.range",
            b"9" * 500: "int.range",
        },
        "created_at": {
            b"31/31/2024": "date.syntax",
            b"2023-02-29": "date.range",
            b"0000-01-01": "date.range",
            b"99999-01-01": "date.syntax",
            b"yesterday": "date.syntax",
            b"infinity": "date.syntax",
            b"2024-01-01T25:00": "date.range",
        },
        "status": {b"VIP": "status.unknown", b"active;bounced": "status.unknown"},
        "first_name": {b"x" * 201: "field.too_long"},
        "email": {
            b"": "email.empty",
            b"plain": "email.no_at",
            b"a@b@c.com": "email.two_ats",
            b"a b@example.com": "email.space",
            b"a@example": "email.domain_no_dot",
            b"a@example.com.": "email.domain_dot",
            b"@example.com": "email.local_empty",
            b"x" * 65 + b"@example.com": "email.local_too_long",
            b"a@" + b"x" * 64 + b".com": "email.domain_label_too_long",
            b"a@" + b"x." * 130 + b"com": "email.domain_too_long",
            b"a@[127.0.0.1]": "email.domain_literal",
            b"Bob <a@example.com>": "email.display_name",
            b"mailto:a@example.com": "email.mailto",
            b"a@example.com\xe2\x80\x8b": "email.control",
            b"a@example.test": "email.domain_special_use",
        },
    }
    for column, kinds in refused.items():
        for value, reason in kinds.items():
            shown = value if len(value) < 40 else value[:8] + b"..."
            changes = {column: value, "note": b"y"}
            # The good rows settle what the columns are: one bad value must not turn a column into an attribute.
            yield Case(
                f"{column} {shown!r}",
                table(good(1), good(2, **changes), good(3), good(4)),
                accepted=3,
                rejected={3: reason},
            )
    yield Case("the same address 500 times", table(*(good(1) for _ in range(500))), accepted=1, duplicates=499)
    yield Case(
        "one address in many cases",
        table(good(1, email=b"A@Example.com"), good(2, email=b" a@EXAMPLE.COM "), good(3, email=b'"a@example.com"')),
        accepted=1,
        duplicates=2,
    )


def mutations() -> Iterator[Case]:
    """Text of which bytes were changed, put in and taken out at random; the rows are counted by the slow reader."""
    for seed in range(60):
        rng = random.Random(seed)
        body = bytearray(b"".join(good(i, note=b'"a, ""b""\nc"') for i in range(1, 30)))
        for _ in range(rng.choice((1, 3, 10, 100))):
            at = rng.randrange(len(body))
            what = rng.choice(
                (b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff", b" ", rng.randbytes(3), body[at : at + 40])
            )
            body[at : at + rng.choice((0, 0, 1, 1, 20))] = what
        yield Case(
            f"mutation {seed}",
            table(bytes(body)),
            accepted=-1,
            options={"encoding": "utf-8", "delimiter": ",", "quote": '"', "has_header": True},
        )
