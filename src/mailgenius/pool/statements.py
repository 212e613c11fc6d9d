"""SQL texts as statements: without literals for statistics, and hashed for names; and what each statement costs."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from mailgenius._native import QueryCounters

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["QueryStat", "QueryStats", "SlowCall", "normalise", "statement_hash"]

SHOWN = 2000  # characters of a statement; of a longer one its head and its hash are kept
MARK = "?"

# PostgreSQL's tokens (its manual, "Lexical Structure"), as far as they tell where literals and comments are. Identifiers
# are tokens of their own so that no digit, quote or dollar inside of one begins something; with plain punctuation and
# single spaces between them they are taken in one go. All of it is possessive: no input makes it go back. A string or
# comment that is not closed reaches to the end.
_START, _PART = r"A-Za-z_\x80-\U0010ffff", r"A-Za-z0-9_$\x80-\U0010ffff"
_NEXT_LINE = r"'[ \t\f\v]*+[\r\n][ \t\f\v\r\n]*+'"  # a string goes on in the next line
_NAME = r'"(?:[^"]++|"")*+"'
_TOKEN = re.compile(
    rf"""
      (?P<space> (?: [ \t\n\r\f\v]++ | --[^\r\n]*+ )++ )
    | (?P<comment> /\* )
    | (?P<dollar> \$ (?: [{_START}][A-Za-z0-9_\x80-\U0010ffff]*+ )? \$ )
    | (?P<literal>
          [eE]' (?: [^'\\]++ | \\.? | '' | {_NEXT_LINE} )*+ (?: ' | \Z )
        | (?: [bBxXnN] | [uU]& )? ' (?: [^']++ | '' | {_NEXT_LINE} )*+ (?: ' | \Z )
        | 0[xX][0-9a-fA-F_]++ | 0[oO][0-7_]++ | 0[bB][01_]++
        | (?: [0-9][0-9_]*+ (?: \.(?!\.) [0-9_]*+ )? | \.[0-9][0-9_]*+ ) (?: [eE][+-]?[0-9][0-9_]*+ )?
        | \$[0-9]++
        | % (?: \([^)%]*+\) )? [sbt] (?![{_PART}])
      )
    | (?P<kept>
          (?: (?! [eEbBxXnN]' | [uU]&' ) [{_START}][{_PART}]*+ | [(),=<>*+:;\[\]] | \ (?=[A-Za-z_(=<>*]) )++
        | {_NAME} | %% | .
      )
    """,
    re.X | re.S,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_ITEM = rf"[-+]?\ ?(?:\?|(?i:null|true|false)(?![{_PART}]))"
_ITEMS = rf"{_ITEM}(?:\ ?,\ ?{_ITEM})*+"
_ROW = rf"\(\ ?(?:{_ITEMS}|\.\.\.)\ ?\)"
_LISTS = re.compile(
    rf"""
      (?P<name> {_NAME} )
    | (?<![{_PART}])
      (?: (?P<in> (?i:in) )\ ?\(\ ?(?: {_ITEMS} | {_ROW}(?:\ ?,\ ?{_ROW})*+ )\ ?\)
        | (?P<values> (?i:values) )\ ?{_ROW}(?:\ ?,\ ?{_ROW})*+
        | (?P<array> (?i:array) )\ ?\[\ ?{_ITEMS}\ ?\]
      )
    """,
    re.X,
)
_CUT = re.compile(r" … mg_[0-9a-f]{20}\Z")
_CUT_LENGTH = SHOWN + len(" … mg_") + 20


def normalise(sql: str) -> str:
    """``sql`` as a statement: what differs from call to call is taken out, so that it can be counted and shown.

    Literals (numbers, strings in all of PostgreSQL's notations) and placeholders (``%s``, ``%(name)s``, ``$1``) become
    ``?``; comments and white space one space; ``in (…)``, ``values (…), (…)`` and ``array[…]`` that hold only such marks,
    ``null``, ``true`` or ``false`` become ``in (...)``, ``values (...)`` and ``array[...]``. Identifiers stay as they are.
    A result over 2,000 characters is kept as its head and the hash of all of it. Normalising it again changes nothing.

    Strings are read as with ``standard_conforming_strings = on``, the server's default.
    """
    if len(sql) == _CUT_LENGTH and _CUT.search(sql):
        return sql
    parts: list[str] = []
    at = 0
    while token := _TOKEN.match(sql, at):
        at = token.end()
        kind = token.lastgroup
        if kind == "kept":
            parts.append(token[0])
            continue
        if kind == "comment":
            at = _comment_end(sql, at)
        elif kind == "dollar":
            close = sql.find(token[0], at)
            at = len(sql) if close < 0 else close + len(token[0])
        if kind in ("literal", "dollar"):
            parts.append(MARK)
        elif parts and parts[-1] != " ":
            parts.append(" ")
    text = _LISTS.sub(_shortened, "".join(parts).rstrip(" "))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … {statement_hash(text)}"


def statement_hash(text: str) -> str:
    """A short name for a prepared statement: the same for the same text in every process, different for others."""
    return "mg_" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _comment_end(sql: str, at: int) -> int:
    """Where the comment ends whose beginning was read. They nest."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            return len(sql)
        at = edge.end()
        depth += 1 if edge[0] == "/*" else -1
    return at


def _shortened(found: re.Match[str]) -> str:
    if found["name"] is not None:
        return found["name"]
    if found["array"] is not None:
        return f"{found['array']}[...]"
    return f"{found['in'] or found['values']} (...)"


class QueryStat(msgspec.Struct, frozen=True):
    """What the calls of one statement cost. Durations in seconds; quantiles are within 1.6 %, all else is exact."""

    statement: str
    calls: int
    errors: int
    rows: int
    total: float
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class SlowCall(msgspec.Struct, frozen=True):
    """One slow call. ``number`` counts them from 1, also those that are no longer kept. ``detail``: the parameters, if
    they are kept; ``plan``: how PostgreSQL would run it, if it was explained."""

    statement: str
    seconds: float
    rows: int
    error: bool
    number: int
    detail: Any = None
    plan: str = ""


class QueryStats(QueryCounters):
    """Statistics of queries by statement, and the last slow calls; what is counted and kept: see ``QueryCounters``.

    ``record(text, seconds, rows, error, detail)`` takes 50 to 80 ns for a text it knows
    (benchmarks/kernels/querystats.py). Parameters are not kept unless the caller gives them as ``detail``.
    """

    __slots__ = ()

    def __new__(
        cls,
        capacity: int = 512,
        slow_seconds: float = 0.5,
        slow_kept: int = 100,
        normalise: Callable[[str], str] = normalise,
    ) -> Self:
        return super().__new__(cls, capacity, slow_seconds, slow_kept, normalise)

    def top(self, n: int = 20, by: Literal["total", "calls", "mean", "p99", "errors"] = "total") -> list[QueryStat]:
        """The first ``n`` statements by ``by``. What was folded is among them as "(other)"."""
        return [QueryStat(*row) for row in self.top_rows(n, by)]

    def totals(self) -> QueryStat:
        """All statements together, as "(all)"."""
        return QueryStat(*self.total_row())

    def slow(self) -> list[SlowCall]:
        """The last slow calls, the oldest first."""
        return [SlowCall(*row) for row in self.slow_rows()]
