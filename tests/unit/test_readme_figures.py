"""The table of figures in README.md is made of rows of docs/benchmarks.md."""

from benchmarks.readme import END, START, rows, with_rows

PAGE = """# Benchmarks

| machine | |
|---|---|
| Processor | x |

## What the library promises

| what | ours |
|---|---:|
| a | 1 |

## Imports

| what | ours |
|---|---:|
| b | 2 |

## Kernels

| what | ours |
|---|---:|
| c | 3 |
"""


def test_two_tables_become_one() -> None:
    assert rows(PAGE) == ["| what | ours |", "|---|---:|", "| a | 1 |", "| b | 2 |"]


def test_the_rest_of_the_readme_stays() -> None:
    once = with_rows(f"before\n{START}old\n{END}after\n", PAGE)
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once
    assert "| b | 2 |" in once
    assert with_rows(once, PAGE) == once


def test_a_readme_without_marks_stays_as_it_is() -> None:
    assert with_rows("text\n", PAGE) == "text\n"
