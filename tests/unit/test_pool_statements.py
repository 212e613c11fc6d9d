"""normalise and statement_hash: every literal goes, no identifier does, and what was normalised stays as it is."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius.pool.statements import SHOWN, normalise, statement_hash

ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def dollar_quoted(text: str, tag: str) -> str:
    quote = f"${tag}$"
    # a dollar at the end, together with the closing quote's, would close it earlier
    return quote + text.replace("$", "") + quote


LITERALS = st.one_of(
    st.sampled_from(["0", "12", "1.5", "1.", ".5", "1e10", "1.5E-3", "1_000", "0x1F", "0b01", "0o17", "''", "''''"]),
    st.sampled_from(["%s", "%b", "%t", "%(name)s", "%(a b)s", "$1", "$12", "E'a\\\\'", "E'\\''", "'a'\n 'b'", "$$'$$"]),
    ANY.map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.tuples(st.sampled_from(["u&", "U&", "b", "X", "n"]), ANY).map(
        lambda pair: pair[0] + "'" + pair[1].replace("'", "''") + "'"
    ),
    st.tuples(st.sampled_from("eE"), ANY).map(lambda pair: f"{pair[0]}'{escaped(pair[1])}'"),
    st.tuples(ANY, st.sampled_from(["", "a", "tag_1", "é"])).map(lambda pair: dollar_quoted(*pair)),
)
NAMES = st.one_of(
    st.from_regex(r"[a-z_é][a-zA-Z0-9_$é\xa0]{0,8}", fullmatch=True).filter(
        lambda name: name.lower() not in ("in", "values", "array")
    ),
    ANY.filter(bool).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.sampled_from(['"in (1, 2)"', '"a  b"', '"--"', '"/*"', '"$$"', '"it\'s"', '"?"', '"%s"', "x1", "e", "b", "n"]),
)
SIGNS = st.sampled_from(["=", "<", ",", "(", ")", "||", "::", "->>", "?", "[", "]", ";", "%%"])
GAPS = st.sampled_from(
    [" ", "\n", "\t\r\n ", " /* c */ ", "/**/", "/* ' /* \" */ $$ */", " -- it's \"\n", "--\r", " /*/* 1 */*/"]
)
# A literal is never beside another one: two strings on two lines would be one.
TOKENS = st.lists(st.tuples(st.one_of(NAMES, SIGNS), st.none() | LITERALS), min_size=1, max_size=12)


def spelled(tokens: list[tuple[str, str | None]], gaps: list[str]) -> str:
    words = [word for pair in tokens for word in pair if word is not None]
    return "".join(gaps[i % len(gaps)] + word for i, word in enumerate(words)) + gaps[-1]


def expected(tokens: list[tuple[str, str | None]]) -> str:
    return " ".join(word for sign, literal in tokens for word in (sign, "?" if literal is not None else None) if word)


@settings(max_examples=200)
@given(TOKENS, st.lists(GAPS, min_size=1, max_size=9))
def test_literals_go_and_the_rest_stays(tokens: list[tuple[str, str | None]], gaps: list[str]) -> None:
    assert normalise(spelled(tokens, gaps)) == expected(tokens)


@given(TOKENS, TOKENS, st.lists(GAPS, min_size=1, max_size=4))
def test_statements_are_told_apart(
    one: list[tuple[str, str | None]], other: list[tuple[str, str | None]], gaps: list[str]
) -> None:
    same = [(sign, literal is None) for sign, literal in one] == [(sign, literal is None) for sign, literal in other]
    if not same and expected(one) != expected(other):  # a ? that is an operator looks like one that is a literal
        assert normalise(spelled(one, gaps)) != normalise(spelled(other, gaps))


PIECES = st.one_of(
    LITERALS, NAMES, SIGNS, GAPS, ANY,
    st.sampled_from([*"'\"$%/*-\\.?1eE([,", "in (", "values (", "array[", "null", ")", "),(", "...", "U&", "E'", "%("]),
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_normalising_again_changes_nothing(sql: str) -> None:
    once = normalise(sql)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("", ""),
        (" \n ", ""),
        ("select 1 ;", "select ? ;"),
        ("select x1, t2.c3 from a$1", "select x1, t2.c3 from a$1"),
        ("select 'it''s', E'a\\'b', U&'\\0041', b'1', $t$ ' $x$ $t$", "select ?, ?, ?, ?, ?"),
        ("where a=1 and b = -2.5", "where a=? and b = -?"),
        ("/* route: /x */ select/* a /* b */ c */1--end", "select ?"),
        ('select "My 1  Table"."in (1)"', 'select "My 1  Table"."in (1)"'),
        ("where id in (1, 2,3 )", "where id in (...)"),
        ("where id IN(%s)", "where id IN (...)"),
        ("where id in (-1, null, 'a', %(x)s, $2)", "where id in (...)"),
        ("where (a, b) in ((1, 2), (3, 4))", "where (a, b) in (...)"),
        ("where id in (select 1)", "where id in (select ?)"),
        ("where id in (1, now())", "where id in (?, now())"),
        ("where id in (%s::int, %s::int)", "where id in (?::int, ?::int)"),
        ("insert into t values (1, 'a'), (2, true) returning x", "insert into t values (...) returning x"),
        ("values (1, now()), (1, 2)", "values (?, now()), (?, ?)"),
        ("select array[1, 2], ARRAY [ %s ]", "select array[...], ARRAY[...]"),
        ("select margin(1, 2), values_(1), nullif(1, 2)", "select margin(?, ?), values_(?), nullif(?, ?)"),
        ("where x is null and y is true", "where x is null and y is true"),
        ("select 5 %% 2, a % b, x %sum", "select ? %% ?, a % b, x %sum"),
        ("select arr[1:2], 1..2", "select arr[?:?], ?.?"),
        ("select date '2026-01-01', interval'1 day'", "select date ?, interval?"),
        ("where data ? 'key' and data ?| %s", "where data ? ? and data ?| ?"),
        ("select E'a'\n  'b\\'c', 'd'\n'e'", "select ?, ?"),
        ("select 'open", "select ?"),
        ("select E'open\\", "select ?"),
        ("select $a$ open $b$", "select ?"),
        ("select 1 /* open /* */", "select ?"),
        ("select $1$2", "select ??"),
    ],
)
def test_examples(sql: str, wanted: str) -> None:
    assert normalise(sql) == wanted
    assert normalise(wanted) == wanted


def test_long_statements_keep_a_head_and_a_hash() -> None:
    columns = ", ".join(f"column_{'x' * (i % 7)}" for i in range(400))
    one, other = (normalise(f"select {columns}, {last} from t where id = 7") for last in ("a", "b"))
    assert one != other
    assert one[:SHOWN] == other[:SHOWN] == f"select {columns}"[:SHOWN]
    assert len(one) < SHOWN + 40
    assert normalise(one) == one
    assert normalise(f"select {columns}, a from t where id = 8") == one
    fits = "select " + "x" * (SHOWN - 7)
    assert normalise(fits) == fits
    assert normalise(fits + "y") != fits
    quoted = normalise('select "' + "1 2  3" * 1000 + '"')
    assert normalise(quoted) == quoted


@pytest.mark.parametrize(
    "piece",
    ["'", '"', "$", "/*", "(", "in (1,", "values (1),", "'\n", "E'\\", " ", "--", "1.", "%(", "array[null,", "- "],
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    normalise("select " + piece * 200_000)
    assert time.perf_counter() - began < 20  # a second; if it were quadratic, minutes


def test_hash() -> None:
    name = statement_hash("select 1")
    assert name == "mg_622c0110ecd141a4d19b"
    assert statement_hash("select 2") != name
    assert statement_hash("\ud800") != statement_hash("\ud801")
    code = "from mailgenius.pool.statements import statement_hash; print(statement_hash('select 1'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name
