"""A corpus of files that hurt importers, each with its fate known beforehand.

A ``Case`` says what each row must come to, by the line it begins on, or which error the whole must end in.
"""

from tests.rooms.hostile.case import Case, count_rows, good, table
from tests.rooms.hostile.text import bad_bytes, delimiters, encodings, line_ends, quotes, ragged
from tests.rooms.hostile.values import mutations, values
from tests.rooms.hostile.whole import headers, packed, sizes, sources

__all__ = ["Case", "corpus", "count_rows", "good", "table"]


def corpus() -> list[Case]:
    families = (
        bad_bytes,
        line_ends,
        delimiters,
        encodings,
        quotes,
        ragged,
        sizes,
        packed,
        sources,
        headers,
        values,
        mutations,
    )
    cases = [case for family in families for case in family()]
    assert len({case.name for case in cases}) == len(cases)
    return cases
